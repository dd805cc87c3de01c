"""What a platform does with its datasets after they are encoded, each step in its log.

Update an epoch, retire it for a newer one, destroy the keys whose time has come, verify what lies on
the disk, revoke it (protocols/specs/dataset.md, sections 5 and 6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare.audit.entry import DatasetPublished, parse_entry
from psishare.datasets.store import DatasetStore
from psishare.datasets.update import evaluate_changes
from psishare.errors import InputError, VerificationError
from psishare.exchange.canonical_column import CanonicalColumn
from psishare.exchange.document import now, read_time, write_time
from psishare.exchange.row_counts import RowCounts

if TYPE_CHECKING:
    from datetime import timedelta

    import pyarrow as pa

    from psishare.audit.entry import DatasetDelivered
    from psishare.audit.log import Log
    from psishare.datasets.dataset import Dataset
    from psishare.datasets.manifest import Manifest, SignedManifest
    from psishare.exchange.journal import Journal
    from psishare.exchange.prepared_list import KeyColumn
    from psishare.parties.home import Home
    from psishare.tables.table import Table

Progress = Callable[[int], None]
Counted = Callable[[RowCounts], None]


@dataclass(frozen=True, slots=True)
class Revoked:
    """An epoch that is served no more.

    Attributes:
        signed: its newest manifest.
        deliveries: the log's entries of all deliveries of the epoch.
    """

    signed: SignedManifest
    deliveries: tuple[DatasetDelivered, ...]


class Publication:
    """The datasets of one platform and the log that tells of them.

    Args:
        home: the platform's home.
        log: its log.
        journal: writes its entries.
    """

    def __init__(self, home: Home, log: Log, journal: Journal) -> None:
        self._home = home
        self._log = log
        self._journal = journal
        self._store = DatasetStore(
            home.datasets_path, public_key=home.card.log_key, vault=home.vault
        )

    def update(
        self,
        name: str,
        key: KeyColumn,
        *,
        add: Table | None,
        remove: Table | None,
        progress: Progress,
        counted: Counted,
    ) -> SignedManifest:
        """Add identifiers to a dataset's newest epoch and remove others; evaluate only those.

        Args:
            name: the dataset's name.
            key: the key column of both tables.
            add: a table of what is new, or None.
            remove: a table of what is gone, or None.
            progress: called with the number of identifiers evaluated.
            counted: called with the rows of ``add`` and then of ``remove``, of those that are there.

        Returns:
            The new manifest; the one that was there, where nothing changes.

        Raises:
            InputError: the column does not fit the dataset, one identifier is in both lists, or there
                are more items than ``n_max``.
            ConfigError: there is no such dataset, its key is gone, or another process changes it.
            AuditError: the log cannot take the entry; then nothing has changed.
        """
        self._store.open(name)
        with self._store.locked(name):
            dataset = self._store.open(name)
            dataset.require_in_use()
            _require_fits(dataset.manifest, key)
            added, removed = (_batches(table, key, counted) for table in (add, remove))
            changes = evaluate_changes(dataset, added, removed, progress)
            if not len(changes):
                return dataset.signed
            with self._store.update(
                dataset, changes, created=write_time(now()), signer=self._home.log_signer()
            ) as new:
                new.note_entry(self._journal.published(new.signed))
            return new.signed

    def retire_older(self, name: str, grace: timedelta) -> None:
        """Note that the keys of all epochs but the newest are to be destroyed after a grace.

        Raises:
            ConfigError: the disk refuses.
        """
        at = write_time(now() + grace)
        for dataset in self._store.epochs(name)[:-1]:
            if not dataset.is_destroyed:
                dataset.retire(at)

    def destroy_due_keys(self) -> list[SignedManifest]:
        """Destroy the keys of all epochs whose grace is over, and log it.

        Returns:
            The manifests of those epochs.

        Raises:
            ConfigError: the disk refuses.
            AuditError: the log cannot take the entry; the key is gone, and the entry comes next time.
        """
        due = [dataset for name in self._store.names() for dataset in self._due(name)]
        for dataset in due:
            dataset.destroy_key()
            self._journal.key_destroyed(dataset.signed)
            dataset.note_destroyed()
        return [dataset.signed for dataset in due]

    def verify(self, name: str) -> SignedManifest:
        """Verify a dataset's newest epoch: signature, log entry, key, and every shard.

        Raises:
            ConfigError: there is none, or its key is not the manifest's.
            VerificationError: something is not as the manifest or the log says.
        """
        dataset = self._store.open(name)
        signed = dataset.signed
        entry = parse_entry(self._log.entry(dataset.entry))
        if not isinstance(entry, DatasetPublished) or (
            (entry.manifest_sha256, entry.public_key)
            != (signed.sha256.hex(), signed.manifest.public_key)
        ):
            raise VerificationError(
                f"entry {dataset.entry} of the log does not publish this manifest of {name}",
                mend="Restore log and dataset from the same backup, or encode a new epoch.",
                reason="manifest_unpublished",
            )
        if not dataset.is_destroyed:
            dataset.key()
        dataset.verify_shards()
        return signed

    def revoke(self, name: str) -> Revoked:
        """Serve a dataset's newest epoch no more, from now on, and tell to whom it was delivered.

        Raises:
            ConfigError: there is none, or the disk refuses.
            AuditError: the log cannot take the entry; the epoch is revoked, and the entry comes with
                the next try.
        """
        dataset = self._store.open(name)
        epoch = dataset.manifest.epoch
        dataset.revoke()
        self._journal.revoked(dataset.signed)
        delivered = (e for e in self._journal.deliveries(name) if e.epoch == epoch)
        return Revoked(dataset.signed, tuple(delivered))

    def _due(self, name: str) -> Iterator[Dataset]:
        for dataset in self._store.epochs(name):
            at = dataset.retires_at
            if at is not None and not dataset.is_destroyed and read_time(at) <= now():
                yield dataset


def _batches(table: Table | None, key: KeyColumn, counted: Counted) -> Iterator[pa.Array]:
    """Count a table's rows, and return what yields its identifiers."""
    if table is None:
        return iter(())
    column = CanonicalColumn.of(table, key, lambda _rows: None)
    counted(column.counts)
    return column.batches()


def _require_fits(manifest: Manifest, key: KeyColumn) -> None:
    """Refuse identifiers that would be evaluated under a key that is not theirs."""
    ruleset = key.ruleset
    theirs = (manifest.kind, manifest.namespace, manifest.ruleset.version, manifest.ruleset.digest)
    if (key.kind, key.namespace, ruleset.version, ruleset.digest) != theirs:
        raise InputError(
            f"{manifest.dataset} holds identifiers of another kind, namespace or canonical form",
            mend="Name its kind and namespace; where its canonical form is older, encode a new epoch.",
            reason="dataset_differs",
        )
