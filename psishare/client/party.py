"""A home folder, opened for work: what a platform and an authority do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from psishare.datasets.encode import DEFAULT_MEMORY_BYTES
from psishare.datasets.manifest import Ruleset as ManifestRuleset
from psishare.datasets.replay import answer_request, request_size, require_whole
from psishare.datasets.store import DatasetStore, Parameters, require_name
from psishare.errors import ConfigError, InputError
from psishare.exchange.canonical_column import CanonicalColumn
from psishare.exchange.document import now, write_time
from psishare.exchange.journal import Journal
from psishare.exchange.offer import Offer
from psishare.exchange.platform import EXCHANGES_PER_AUTHORITY, IDLE_TIMEOUT_S
from psishare.exchange.prepared_list import KeyColumn
from psishare.exchange.publication import Publication, Revoked
from psishare.exchange.register import Register, Row
from psishare.keys.passphrase import given
from psishare.parties.home import Home
from psishare.parties.peers import Peers
from psishare.parties.tls import tls_name
from psishare.psi.suite import DEFAULT_MAX_QUERY
from psishare.transport.grpc_client import GrpcChannel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from psishare.audit.entry import Entry
    from psishare.client.cancellation import Cancellation
    from psishare.client.match import Match
    from psishare.client.served_list import ListSource
    from psishare.datasets.manifest import SignedManifest
    from psishare.exchange.left_open import Resumable
    from psishare.exchange.offering import Offering
    from psishare.exchange.progress import Progress
    from psishare.exchange.row_counts import RowCounts
    from psishare.keys.passphrase import Passphrase
    from psishare.transport.channel import Channel
    from psishare.transport.limits import Limits


from psishare.client.heartbeat import HEARTBEAT_S
from psishare.client.input_table import input_table
from psishare.client.opened_home import LOGGING_ROLES, open_log, require_role, tls_identity
from psishare.client.renewal import certificate_warnings
from psishare.client.resumption import abandon, key_again, left_open, table_again, task_again
from psishare.client.served_list import matches_writer
from psishare.client.served_sets import ServedSets
from psishare.client.server import Server
from psishare.client.session import RETRY_FOR_S, Session
from psishare.exchange.progress import advanced, quiet, rows_read

DEFAULT_TIMEOUT_S = 60.0
DEFAULT_N_MAX = 2**24


class Party:
    """A party's home folder, opened for work.

    Use as a context manager; ``close`` frees what it holds.

    Args:
        home: the folder.

    Attributes:
        home: the folder: keys, card, files.
        peers: the pinned parties.
        log: the audit log.
        register: the exchanges and how far each has come.
        journal: writes the entries of exchanges.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.peers = Peers(home.peers_path)
        self.log = open_log(home)
        self.register = Register(home.state_path, home.path / "run")
        self.journal = Journal(self.log)

    @classmethod
    def open(cls, path: Path | str, *, passphrase: Passphrase | None = None) -> Self:
        """Open a home folder of a platform or an authority.

        Args:
            path: the folder.
            passphrase: of its keys; where None, it is looked for when the first key is needed: in the
                file that ``PSISHARE_PASSPHRASE_FILE`` names, then in the service's credential.

        Returns:
            The party, to be used with ``with``.

        Raises:
            ConfigError: there is none, others can read it, or its role keeps no log.
            AuditError: the log does not recover.
        """
        source = None if passphrase is None else given(passphrase)
        home = Home.open(Path(path), passphrase=source)
        if home.card.role not in LOGGING_ROLES:
            raise ConfigError(
                f"{home.id} is of role {home.card.role}, which takes no part in exchanges",
                mend="Use the home of a platform or an authority.",
                reason="role_unfit",
            )
        return cls(home)

    def close(self) -> None:
        """Free the register's lock."""
        self.register.close()

    def __enter__(self) -> Self:
        """Return the party."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def connect(
        self,
        platform: str,
        address: str,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry_for_s: float = RETRY_FOR_S,
    ) -> Session:
        """Return a session with a pinned platform.

        The connection is made when the session first needs it: only once this side's list and result
        file have been found to be in order.

        Args:
            platform: its party id.
            address: ``host:port``.
            timeout_s: seconds for the connection and for each call.
            retry_for_s: for how many seconds a call that gets no answer is made again.

        Raises:
            ConfigError: it is not pinned, this is no authority's home, or it does not open.
        """
        require_role(self.home, "authority")
        peer = self.peers.get(platform)
        self.home.unlock()

        def dial() -> Channel:
            return GrpcChannel.connect(
                address,
                identity=tls_identity(self.home),
                pinned=peer.card.certificates(),
                server_name=tls_name(peer.id),
                peer=peer.id,
                timeout_s=timeout_s,
            )

        return Session(self, peer, dial, address=address, retry_for_s=retry_for_s)

    def resume(
        self,
        exchange_id: str,
        *,
        address: str | None = None,
        data: Any = None,
        out: Path | str | None = None,
        overwrite: bool | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry_for_s: float = RETRY_FOR_S,
        progress: Progress | None = None,
        cancellation: Cancellation | None = None,
    ) -> Match:
        """Go on with an exchange whose connection was lost or whose process has ended.

        What is not given is as it was when the exchange began.

        Args:
            exchange_id: hexadecimal, or the beginning of one that no other shares.
            address: where the platform listens.
            data: the list, unchanged; needed where it was read from no file.
            out: where to write every matching row.
            overwrite: whether a file that is there is replaced.
            timeout_s: seconds for the connection and for each call.
            retry_for_s: for how many seconds a call that gets no answer is made again.
            progress: called as steps advance.
            cancellation: stops it from another thread: the exchange is aborted, in both logs.

        Returns:
            The result, as of ``Session.match``.

        Raises:
            InputError: ``list_differs``; ``exchange_not_found``; ``exchange_running``; or
                ``exchange_finished``: it has ended, and its result was handed over.
            PsishareError: as ``Session.match``.
        """
        require_role(self.home, "authority")
        row = self.exchange(exchange_id)
        task = task_again(self, row)
        where = address or task.address
        if where is None:
            raise InputError(
                "it is not known where the platform listens",
                mend="Give its address.",
                reason="address_unknown",
            )
        with self.connect(row.peer, where, timeout_s=timeout_s, retry_for_s=retry_for_s) as session:
            return session.resume(
                row.exchange_id,
                table_again(task) if data is None else data,
                key=key_again(task, row),
                output=Offer.parse(row.offer).output,
                out=task.out if out is None else out,
                overwrite=task.overwrite if overwrite is None else overwrite,
                progress=progress,
                cancellation=cancellation,
            )

    def resumable(self) -> list[Resumable]:
        """Return the exchanges of this authority that can go on, and until when.

        Returns:
            The newest first; of a platform none.

        Raises:
            AuditError: the register cannot be read.
        """
        return left_open(self).resumable() if self.home.card.role == "authority" else []

    def abandon(self, exchange_id: str) -> Row:
        """Give up an exchange that was left open, and log that it is aborted.

        The other party's time-out ends it there, or the next connection between the two.

        Args:
            exchange_id: hexadecimal, or the beginning of one that no other shares.

        Returns:
            The exchange as it is now.

        Raises:
            InputError: ``exchange_not_found``; ``exchange_running``; ``exchange_finished``.
            AuditError: the log cannot take the entry.
        """
        abandon(self, self.exchange(exchange_id))
        return self.exchange(exchange_id)

    def encode(
        self,
        data: Any,
        key: KeyColumn | str,
        *,
        name: str,
        n_max: int | None = None,
        max_query: int = DEFAULT_MAX_QUERY,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        progress: Progress | None = None,
        counted: Callable[[RowCounts], None] | None = None,
    ) -> SignedManifest:
        """Evaluate a list into the next epoch of a dataset, and log that it is published.

        An encoding of a file that was interrupted goes on where it stopped.

        Args:
            data: the platform's identifiers: a table, the path of its file, or anything with the
                Arrow PyCapsule interface. Duplicates are welcome.
            key: the key column, or ``KIND=COLUMN``. The column holds text.
            name: the dataset's name.
            n_max: the most items that this epoch may ever hold; 2^24, or the next power of two that
                leaves a quarter of headroom.
            max_query: the most distinct rows that one exchange may ask.
            memory_bytes: how many bytes this process is to stay under, at least 320 MiB.
            progress: called as steps advance.
            counted: called with the rows of the list once it is read: how many there are, and how many
                hold no identifier and are left out, by reason.

        Returns:
            The manifest of the new epoch, signed by this platform.

        Raises:
            InputError: the column, the kind or the name is not valid, or there are too many items;
                ``dataset_empty``: there are rows, and none holds an identifier.
            AuditError: the log cannot take the entry; then there is no dataset.
        """
        require_role(self.home, "platform")
        require_name(name)
        report = progress or quiet
        column = KeyColumn.parse(key) if isinstance(key, str) else key
        identifiers = CanonicalColumn.of(input_table(data), column, rows_read(report))
        (counted or _unheard)(identifiers.counts)
        identifiers.require_identifiers()
        n_rows = identifiers.counts.rows
        parameters = Parameters(
            platform=self.home.id,
            ruleset=ManifestRuleset(version=column.ruleset.version, digest=column.ruleset.digest),
            n_max=n_max or default_n_max(n_rows),
            max_query=max_query,
            created=write_time(now()),
        )
        with self._store().encode(
            name,
            column.kind,
            column.namespace,
            identifiers.batches,
            parameters=parameters,
            signer=self.home.log_signer(),
            progress=advanced(report, "evaluating", n_rows),
            source=identifiers.source,
            memory_bytes=memory_bytes,
        ) as epoch:
            epoch.note_entry(self.journal.published(epoch.signed))
        return epoch.signed

    def update_dataset(
        self,
        name: str,
        key: KeyColumn | str,
        *,
        add: Any = None,
        remove: Any = None,
        progress: Progress | None = None,
        counted: Callable[[RowCounts], None] | None = None,
    ) -> SignedManifest:
        """Add identifiers to a dataset's newest epoch and remove others, and log the new manifest.

        Costs what changes, not what the dataset holds.

        Args:
            name: the dataset's name.
            key: the key column of both tables, or ``KIND=COLUMN``.
            add: what is new: as ``data`` of ``encode``, or None.
            remove: what is gone: likewise.
            progress: called as identifiers are evaluated.
            counted: called with the rows of ``add`` and then of ``remove``, of those that are given.

        Returns:
            The new manifest; the one that was there, where nothing changes.

        Raises:
            InputError: the column does not fit the dataset, one identifier is in both lists, or there
                are more items than ``n_max``.
            ConfigError: there is no such dataset, or its key is gone.
        """
        column = KeyColumn.parse(key) if isinstance(key, str) else key
        require_role(self.home, "platform")
        return self._publication().update(
            name,
            column,
            add=None if add is None else input_table(add),
            remove=None if remove is None else input_table(remove),
            progress=advanced(progress or quiet, "evaluating", 0),
            counted=counted or _unheard,
        )

    def rotate_dataset(
        self,
        data: Any,
        key: KeyColumn | str,
        *,
        name: str,
        grace_days: int,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        progress: Progress | None = None,
        counted: Callable[[RowCounts], None] | None = None,
    ) -> SignedManifest:
        """Encode a dataset anew, under a new key; the older keys are destroyed after a grace.

        Args:
            data: as of ``encode``: the whole list.
            key: the key column, or ``KIND=COLUMN``.
            name: the dataset's name; its sizes stay as they are.
            grace_days: for how many days older epochs can still be served.
            memory_bytes: how many bytes this process is to stay under, as of ``encode``.
            progress: called as steps advance.
            counted: called with the rows of the list once it is read: how many there are, and how many
                hold no identifier and are left out, by reason.

        Returns:
            The manifest of the new epoch, signed by this platform.

        Raises:
            ConfigError: there is no such dataset.
            InputError, AuditError: as ``encode``.
        """
        old = self._store().open(name).manifest
        signed = self.encode(
            data,
            key,
            name=name,
            n_max=old.n_max,
            max_query=old.max_query,
            memory_bytes=memory_bytes,
            progress=progress,
            counted=counted,
        )
        self._publication().retire_older(name, timedelta(days=grace_days))
        return signed

    def destroy_due_keys(self) -> list[SignedManifest]:
        """Destroy the keys of older epochs whose grace is over; ``serve`` does so, too.

        Returns:
            The manifests of the epochs whose keys are gone now.

        Raises:
            ConfigError: the disk refuses.
        """
        require_role(self.home, "platform")
        return self._publication().destroy_due_keys()

    def verify_dataset(self, name: str) -> SignedManifest:
        """Verify a dataset's newest epoch: signature, log entry, key, and every shard.

        Args:
            name: the dataset's name.

        Returns:
            Its manifest, verified.

        Raises:
            VerificationError: something is not as the manifest or the log says.
            ConfigError: there is no such dataset, or its key is not the manifest's.
        """
        return self._publication().verify(name)

    def revoke_dataset(self, name: str) -> Revoked:
        """Serve a dataset's newest epoch no more, by running servers too; tell who has it.

        Args:
            name: the dataset's name.

        Returns:
            The manifest, and each delivery of it that the log tells of.

        Raises:
            ConfigError: there is no such dataset.
            AuditError: the log cannot take the entry; try again.
        """
        require_role(self.home, "platform")
        return self._publication().revoke(name)

    def _publication(self) -> Publication:
        return Publication(self.home, self.log, self.journal)

    def answer_replay(self, name: str, request: bytes) -> bytes:
        """Evaluate an auditor's whole list under a dataset's key, with proofs; the log says so first.

        Args:
            name: the dataset's, of which the newest epoch answers.
            request: as ``psishare audit dataset-ask`` wrote it.

        Returns:
            The answer's bytes, for the auditor alone.

        Raises:
            VerificationError: ``replay_malformed``.
            InputError: ``list_differs``: it is not about as many identifiers as the dataset's parts hold.
            ConfigError: there is no such dataset, or its key is gone.
            AuditError: the log cannot take the entry; then nothing is evaluated.
        """
        require_role(self.home, "platform")
        found = self._store().open(name)
        found.require_in_use()
        n_elements = request_size(request)
        require_whole(n_elements, found)
        self.journal.replayed(found.signed, n_elements)
        return answer_request(request, found, self.home.log_signer())

    def datasets(self) -> list[SignedManifest]:
        """Return the manifest of the newest epoch of each dataset of this platform, by name.

        Raises:
            ConfigError: a dataset cannot be read.
            VerificationError: a manifest is not what this platform signed.
        """
        store = self._store()
        return [store.open(name).signed for name in store.names()]

    def exchanges(self) -> list[Row]:
        """Return this party's exchanges, the newest first, each as far as it has come.

        Raises:
            AuditError: the state cannot be read.
        """
        return self.register.rows()

    def exchange(self, exchange_id: str) -> Row:
        """Return one exchange.

        Args:
            exchange_id: hexadecimal, or the beginning of one that no other shares.

        Raises:
            InputError: there is none of that id, or more than one.
        """
        rows = self.exchanges()
        found = [
            row for row in rows if exchange_id and row.exchange_id.hex().startswith(exchange_id)
        ]
        if len(found) != 1:
            raise InputError(
                f"{len(found) or 'no'} exchanges have an id that begins so",
                mend="See the ids with `psishare exchange list`.",
                reason="exchange_not_found",
            )
        return found[0]

    def warnings(self, *peers: str) -> list[str]:
        """Return what is to be done soon about certificates, a sentence each.

        Args:
            peers: whose certificates to look at beside this party's own; those of all where none.
        """
        chosen = [peer for peer in self.peers if not peers or peer.id in peers]
        return certificate_warnings(self.home, chosen)

    def serve(
        self,
        address: str,
        *,
        datasets: Iterable[Path | str] = (),
        lists: Iterable[ListSource] = (),
        out: Path | None = None,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        limits: Limits | None = None,
        exchanges_per_authority: int = EXCHANGES_PER_AUTHORITY,
        health: str | None = None,
        progress: Progress | None = None,
        logged: Callable[[Entry], None] | None = None,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> Server:
        """Serve encoded datasets and lists until the server is stopped.

        Args:
            address: ``host:port``; port 0 takes a free one.
            datasets: names of this platform's datasets, or folders of epochs.
            lists: lists served with ``ecdh`` and ``openmined``.
            out: with output ``both``: the folder for the platform's own matches, a file an exchange.
            idle_timeout_s: for how many seconds an exchange may stand still before it is aborted.
            limits: how many connections, calls and bytes are taken on at once, of all and of each.
            exchanges_per_authority: how many exchanges one authority may have open at once.
            health: ``host:port`` of this machine where health and metrics are answered; None: nowhere.
            progress: called as lists are read.
            logged: called with every new entry of the log, soon after it is there.
            heartbeat_s: seconds from one heartbeat in the log to the next.

        Returns:
            The server, at work; to be used with ``with``.

        Raises:
            ConfigError: nothing is to be served, an address is not usable, or the home does not open.
        """
        require_role(self.home, "platform")
        self.home.unlock()
        sets = ServedSets(datasets, lists, keeps_files=out is not None)

        def offered(home: Home, progress: Progress) -> list[Offering]:
            self._publication().destroy_due_keys()
            return sets.open(home, progress)

        return Server(
            self,
            address,
            offered=offered,
            matched=matches_writer(out),
            progress=progress,
            idle_timeout_s=idle_timeout_s,
            limits=limits,
            exchanges_per_authority=exchanges_per_authority,
            health=health,
            logged=logged,
            heartbeat_s=heartbeat_s,
        )

    def _store(self) -> DatasetStore:
        home = self.home
        return DatasetStore(home.datasets_path, public_key=home.card.log_key, vault=home.vault)


def default_n_max(n_items: int) -> int:
    """Return 2^24, or the next power of two that leaves a quarter of headroom."""
    wanted = n_items + n_items // 4
    return max(DEFAULT_N_MAX, 1 << max(0, wanted - 1).bit_length())


def _unheard(_counts: RowCounts) -> None:
    """Nobody asked for the rows' figures."""
