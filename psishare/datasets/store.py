"""The platform's datasets: a folder each, an epoch in each, a key, a signed manifest and shards in each.

``<home>/datasets/<name>/epoch-<n>/`` holds ``manifest.json`` (the signed bytes), ``manifest.sig``,
``key.json``, ``entry`` (where the log says that it was published) and the shards; each update of it
has a folder ``update-<sequence>`` with a manifest, signature and entry of its own. A folder that is
there is whole: it is made beside its place and moved.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psishare.datasets.dataset import Dataset, open_dataset
from psishare.datasets.encode import (
    DEFAULT_MEMORY_BYTES,
    DatasetName,
    Progress,
    Read,
    evaluate_into,
    require_headroom,
    run_items,
)
from psishare.datasets.manifest import LABEL, MAX_BYTES, NAME, Manifest, Ruleset, SignedManifest
from psishare.datasets.part import write_part
from psishare.datasets.runs import Runs
from psishare.datasets.staging import Staging
from psishare.errors import ConfigError, InputError
from psishare.keys.durable_file import make_folder, sync_folder, write_durably
from psishare.keys.statement import sign_statement
from psishare.psi.suite import fingerprint_bits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.datasets.update import Changes
    from psishare.keys.signer import Signer
    from psishare.keys.vault import Vault

__all__ = ["DatasetStore", "NewManifest", "Parameters", "open_dataset", "require_name"]

_EPOCH = re.compile(r"epoch-([1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a new epoch is made with.

    Attributes:
        platform: the platform's id.
        ruleset: version and digest of the kind's canonical form.
        n_max: the most items the epoch may ever hold.
        max_query: the most distinct rows one exchange may ask.
        created: the time, as documents write it.
    """

    platform: str
    ruleset: Ruleset
    n_max: int
    max_query: int
    created: str


@dataclass(frozen=True, slots=True)
class NewManifest:
    """A manifest that is written, with its shards, and not yet in its place."""

    folder: Path
    signed: SignedManifest

    def note_entry(self, index: int) -> None:
        """Note the index of its entry in the platform's log."""
        write_durably(self.folder / "entry", f"{index}\n".encode(), error=ConfigError)


class DatasetStore:
    """The datasets of one platform's home folder.

    Args:
        path: the folder ``datasets`` of the home.
        public_key: the platform's Ed25519 key; every manifest must be signed by it.
        vault: of that home; reads and writes the epochs' keys.
    """

    def __init__(self, path: Path, *, public_key: bytes, vault: Vault) -> None:
        self._path = path
        self._public_key = public_key
        self._vault = vault

    def names(self) -> list[str]:
        """Return the names of the datasets that have an epoch, sorted."""
        if not self._path.is_dir():
            return []
        return sorted(p.name for p in self._path.iterdir() if self._epochs(p.name))

    def open(self, name: str) -> Dataset:
        """Open the newest epoch of a dataset.

        Raises:
            ConfigError: there is none, or its manifest is not signed by this platform.
        """
        epochs = self._epochs(name)
        if not epochs:
            raise ConfigError(
                f"there is no dataset named {name!r}",
                mend="See `psishare dataset show`, or make it with `psishare dataset encode`.",
                reason="dataset_unknown",
            )
        return self._open(name, epochs[-1])

    def epochs(self, name: str) -> list[Dataset]:
        """Open every epoch of a dataset, the oldest first.

        Raises:
            ConfigError: an epoch is damaged.
            VerificationError: a manifest is not signed by this platform.
        """
        return [self._open(name, epoch) for epoch in self._epochs(name)]

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Keep every other process from changing a dataset while the ``with`` block lasts.

        Raises:
            ConfigError: another process changes it now, or the folder cannot be made.
        """
        home = self._path / name
        try:
            make_folder(home)
            descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _unwritable(home) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(
                    f"another process is changing the dataset {name}",
                    mend="Wait for it to end, then try again.",
                    reason="dataset_busy",
                ) from error
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def encode(
        self,
        name: str,
        kind: str,
        namespace: str,
        read: Read,
        *,
        parameters: Parameters,
        signer: Signer,
        progress: Progress,
        source: str | None = None,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
    ) -> Iterator[NewManifest]:
        """Make the next epoch of a dataset; it is there once the ``with`` block ends well.

        The block is for the log: the manifest is logged, and its entry noted, before the dataset
        can be served. What was interrupted goes on where it stopped, under the key that it began with,
        if source and parameters are the same.

        Args:
            name: the dataset's name.
            kind: the identifiers' kind.
            namespace: their namespace, may be empty.
            read: yields the canonical identifiers.
            parameters: sizes and ruleset.
            signer: the platform's Ed25519 signer.
            progress: called with the number of identifiers evaluated.
            source: names the input as it is now, so that an interrupted encoding knows it again; None
                where it cannot be read again.
            memory_bytes: what the process is to stay under, at least 320 MiB.

        Yields:
            The manifest, whose entry in the log is to be noted.

        Raises:
            InputError: the name is not valid, there are more items than ``n_max``, or the bound on
                memory is too small.
            ConfigError: a file cannot be written, or another process changes the dataset.
        """
        require_name(name)
        max_items = run_items(memory_bytes)
        bits = fingerprint_bits(parameters.n_max, parameters.max_query)
        with self.locked(name):
            epoch = (self._epochs(name) or [0])[-1] + 1
            home = self._path / name
            key_name = DatasetName(name, kind, namespace, epoch)
            plan = {
                "kind": kind,
                "namespace": namespace,
                "ruleset": parameters.ruleset.digest,
                "n_max": parameters.n_max,
                "max_query": parameters.max_query,
                "source": source,
            }
            with _writable(home), Staging.open(home, key_name, plan, self._vault) as staging:
                runs = Runs(staging.folder, bits)
                evaluate_into(
                    runs, read, staging.key, bits=bits, max_items=max_items, progress=progress
                )
                with staging.discarded_if_refused():
                    part = write_part("base", runs.open, staging.folder, bits=bits)
                    require_headroom(part.items, parameters.n_max)
                manifest = Manifest(
                    platform=parameters.platform,
                    dataset=name,
                    kind=kind,
                    namespace=namespace,
                    epoch=epoch,
                    sequence=0,
                    previous=None,
                    ruleset=parameters.ruleset,
                    public_key=staging.key.public_key.hex(),
                    items=part.items,
                    n_max=parameters.n_max,
                    max_query=parameters.max_query,
                    fingerprint_bits=bits,
                    parts=[part],
                    created=parameters.created,
                )
                yield _write_manifest(staging.folder, manifest, signer)
                runs.remove()
                staging.move_to(home / f"epoch-{epoch}")

    @contextmanager
    def update(
        self, dataset: Dataset, changes: Changes, *, created: str, signer: Signer
    ) -> Iterator[NewManifest]:
        """Append changes to an epoch; they are there once the ``with`` block ends well.

        Args:
            dataset: the epoch, opened under this store's lock.
            changes: what is added and removed, at least one item.
            created: the time, as documents write it.
            signer: the platform's Ed25519 signer.

        Yields:
            The manifest, whose entry in the log is to be noted.

        Raises:
            InputError: all parts together would hold more than ``n_max`` items.
            ConfigError: a file cannot be written.
        """
        old, bits = dataset.manifest, dataset.manifest.fingerprint_bits
        held = sum(part.items for part in old.parts)
        require_headroom(held + len(changes.added) + len(changes.removed), old.n_max)
        parts = [*old.parts]
        if len(changes.removed):
            parts.append(write_part("remove", lambda: [changes.removed], dataset.folder, bits=bits))
        if len(changes.added):
            parts.append(write_part("add", lambda: [changes.added], dataset.folder, bits=bits))
        manifest = Manifest.model_validate(
            dict(old)
            | {
                "sequence": old.sequence + 1,
                "previous": dataset.signed.sha256.hex(),
                "items": old.items + len(changes.added) - len(changes.removed),
                "parts": parts,
                "created": created,
            }
        )
        with _writable(dataset.folder):
            folder = Path(tempfile.mkdtemp(prefix=".new-", dir=dataset.folder))
            try:
                yield _write_manifest(folder, manifest, signer)
                place = dataset.folder / f"update-{manifest.sequence}"
                os.rename(folder, place)  # noqa: PTH104  Path.rename would follow it
                sync_folder(dataset.folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _open(self, name: str, epoch: int) -> Dataset:
        return open_dataset(self._path / name / f"epoch-{epoch}", self._public_key, self._vault)

    def _epochs(self, name: str) -> list[int]:
        folder = self._path / name
        if not NAME.fullmatch(name) or not folder.is_dir():
            return []
        found = (_EPOCH.fullmatch(p.name) for p in folder.iterdir())
        return sorted(int(match[1]) for match in found if match)


def require_name(name: str) -> None:
    """Refuse a name that could not be a dataset's (dataset.md, section 1).

    Raises:
        InputError: it has other characters, or is too long.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            "a dataset's name is 1 to 64 of a-z, 0-9, dot and hyphen, beginning with a letter or digit",
            mend="Choose such a name.",
            reason="dataset_name_invalid",
        )


def _write_manifest(folder: Path, manifest: Manifest, signer: Signer) -> NewManifest:
    document = manifest.document()
    if len(document) > MAX_BYTES:
        raise InputError(
            "the dataset has too many shards for one manifest",
            mend="Split it into several datasets, or encode a new epoch.",
            reason="over_n_max",
        )
    signed = SignedManifest(manifest, document, sign_statement(signer, LABEL, document))
    write_durably(folder / "manifest.json", document, error=ConfigError)
    write_durably(folder / "manifest.sig", signed.signature, error=ConfigError)
    return NewManifest(folder, signed)


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unwritable(folder) from error


def _unwritable(folder: Path) -> ConfigError:
    return ConfigError(
        f"the dataset cannot be written under {folder}",
        mend="Check free space and permissions, then encode again.",
        reason="dataset_unwritable",
    )
