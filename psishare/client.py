"""The library's face: what a compliance system calls, and what the command line calls.

A ``Party`` is an opened home folder. An authority connects and matches; a platform encodes and
serves::

    with Party.open("authority-home") as party, party.connect("tele", "tele.example:7447") as session:
        match = session.match(table, key="phone=number", dataset="customers", mandate=envelope)
    match.matches, match.receipt

Promises: no result without a doubly signed receipt in this party's log.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from psishare.audit.entry import Entry, LogCreated, PeerAdded, PeerRemoved, parse_entry
from psishare.audit.log import Log
from psishare.datasets.encode import DEFAULT_MEMORY_BYTES
from psishare.datasets.manifest import Ruleset as ManifestRuleset
from psishare.datasets.store import DatasetStore, Parameters, open_dataset, require_name
from psishare.errors import AuditError, ConfigError, InputError, PsishareError
from psishare.exchange.admission import PlatformRooms
from psishare.exchange.authority import Ask, Authority, AuthorityRooms, Progress
from psishare.exchange.canonical_column import CanonicalColumn
from psishare.exchange.document import now, write_time
from psishare.exchange.journal import Journal
from psishare.exchange.list_quality import ListQuality, list_quality, rejects_schema
from psishare.exchange.offering import EncodedOffering, ListOffering, Offering
from psishare.exchange.platform import IDLE_TIMEOUT_S, Platform
from psishare.exchange.prepared_list import KeyColumn, PreparedList, prepare
from psishare.exchange.publication import Publication, Revoked
from psishare.exchange.register import Register, Row
from psishare.identifiers import KINDS, kind, ruleset_digest, ruleset_version
from psishare.identifiers.ruleset import vectors
from psishare.keys.durable_file import write_durably
from psishare.keys.note_key import NoteSigner, SignatureType
from psishare.mandates.budget import Budget
from psishare.mandates.case_reference import CaseReference
from psishare.mandates.check import Request, check_mandate
from psishare.mandates.draft import draft
from psishare.mandates.envelope import (
    TrustedKeys,
    VerifiedMandate,
    new_envelope,
    verify_envelope,
)
from psishare.mandates.policy import Policy
from psishare.parties.home import Home
from psishare.parties.peers import Peer, Peers, Trust
from psishare.parties.tls import tls_name
from psishare.psi import suite
from psishare.psi.suite import DEFAULT_MAX_QUERY, Output
from psishare.tables import ResultFile, Table, open_table, write_matches
from psishare.transport.address import Address
from psishare.transport.certificate import TlsIdentity
from psishare.transport.grpc_client import GrpcChannel
from psishare.transport.grpc_server import GrpcServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from psishare.datasets.manifest import SignedManifest
    from psishare.exchange.authority import Outcome
    from psishare.exchange.receipt import SignedReceipt
    from psishare.mandates.mandate import Mandate
    from psishare.transport.channel import Channel

__all__ = [
    "DraftedMandate",
    "KeyColumn",
    "KindDescription",
    "ListQuality",
    "ListSource",
    "Match",
    "Party",
    "Revoked",
    "Server",
    "Session",
    "Summary",
    "Table",
    "check_list",
    "describe_kind",
    "draft_mandate",
    "init_party",
    "kind_names",
    "log_size",
    "open_table",
    "pin_peer",
    "unpin_peer",
    "verify_mandate",
]

_logger = logging.getLogger(__name__)

Choice = TypeVar("Choice", bound=StrEnum)

DEFAULT_TIMEOUT_S = 60.0
DEFAULT_N_MAX = 2**24
HOUSEKEEPING_S = 1.0
EXAMPLE_CHARACTERS = 100
"""The longest published value that is shown as an example."""
LOGGING_ROLES = frozenset({"platform", "authority"})
TRUST_ROLES: tuple[Trust, ...] = ("issuer", "validator")


@dataclass(frozen=True, slots=True)
class Summary:
    """An exchange in figures.

    Attributes:
        rows: rows of the input.
        rejected: rows without an identifier of the kind, by reason code.
        distinct: distinct identifiers, which is what was asked.
        matched: distinct identifiers that both parties hold.
        matched_rows: rows of the input that matched; None with output ``count``.
        platform_rows: the size of the platform's set.
        seconds: from reading the input to the receipt.
    """

    rows: int
    rejected: dict[str, int]
    distinct: int
    matched: int
    matched_rows: int | None
    platform_rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Match:
    """The result of an exchange; it exists only once the doubly signed receipt is in the log.

    Attributes:
        receipt: signed by both parties.
        summary: figures.
        cosigned: whether the platform has cosigned this party's log head yet.
        first_rejects: up to ten rejected row numbers, from 0, with their reason codes.
    """

    receipt: SignedReceipt
    summary: Summary
    cosigned: bool
    first_rejects: tuple[tuple[int, str], ...]
    _table: Table
    _mask: pa.ChunkedArray | None

    @property
    def exchange_id(self) -> str:
        """The exchange's id, hexadecimal."""
        return self.receipt.receipt.exchange_id

    @property
    def count(self) -> int:
        """How many distinct identifiers both parties hold."""
        return self.summary.matched

    @property
    def mask(self) -> pa.ChunkedArray:
        """For each row of the input whether it matched; ``bool``, no nulls.

        Raises:
            InputError: the output was ``count``, which tells no row.
        """
        if self._mask is None:
            raise _tells_no_row()
        return self._mask

    @property
    def matches(self) -> pa.Table:
        """Every matching row of the input, all columns, in input order."""
        return pa.Table.from_batches(self.batches(), schema=self._table.schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield every matching row of the input, all columns, in input order, batch by batch."""
        mask, offset = self.mask, 0
        for batch in self._table.batches():
            yield batch.filter(mask.slice(offset, batch.num_rows).combine_chunks())
            offset += batch.num_rows

    def write(self, path: Path, *, overwrite: bool = False) -> int:
        """Write every matching row, all columns, in input order; atomically, mode 0600.

        Returns:
            The number of rows written.

        Raises:
            InputError: the file exists already, or the input changed meanwhile.
        """
        n_rows: int = write_matches(self._table, self.mask, path, overwrite=overwrite)
        return n_rows


@dataclass(frozen=True, slots=True)
class ListSource:
    """A list that a platform serves with ``ecdh`` and ``openmined``.

    Attributes:
        data: a table, the path of its file, or anything with the Arrow PyCapsule interface.
        key: its key column.
        name: the dataset's name in offers and mandates.
    """

    data: Any
    key: KeyColumn
    name: str


class Party:
    """A party's home folder, opened for work.

    Use as a context manager; ``close`` frees what it holds.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.peers = Peers(home.peers_path)
        self.log = open_log(home)
        self.register = Register(home.state_path, home.path / "run")
        self.journal = Journal(self.log)

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a home folder of a platform or an authority.

        Raises:
            ConfigError: there is none, others can read it, or its role keeps no log.
            AuditError: the log does not recover.
        """
        home = Home.open(Path(path))
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
        self, platform: str, address: str, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> Session:
        """Return a session with a pinned platform.

        The connection is made when the session first needs it: only once this side's list and result
        file have been found to be in order.

        Args:
            platform: its party id.
            address: ``host:port``.
            timeout_s: seconds for the connection and for each call.

        Raises:
            ConfigError: it is not pinned, or this is no authority's home.
        """
        require_role(self.home, "authority")
        peer = self.peers.get(platform)

        def dial() -> Channel:
            return GrpcChannel.connect(
                address,
                identity=tls_identity(self.home),
                pinned=peer.card.certificates(),
                server_name=tls_name(peer.id),
                peer=peer.id,
                timeout_s=timeout_s,
            )

        return Session(self, peer, dial)

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
    ) -> SignedManifest:
        """Evaluate a list into the next epoch of a dataset, and log that it is published.

        Args:
            data: the platform's identifiers: a table, the path of its file, or anything with the
                Arrow PyCapsule interface. Duplicates are welcome.
            key: the key column, or ``KIND=COLUMN``.
            name: the dataset's name.
            n_max: the most items that this epoch may ever hold; 2^24, or the next power of two that
                leaves a quarter of headroom.
            max_query: the most distinct rows that one exchange may ask.
            memory_bytes: what this process is to stay under, at least 320 MiB.
            progress: called as steps advance.

        An encoding of a file that was interrupted goes on where it stopped.

        Raises:
            InputError: the column, the kind or the name is not valid, or there are too many items.
            AuditError: the log cannot take the entry; then there is no dataset.
        """
        require_role(self.home, "platform")
        require_name(name)
        report = progress or _quiet
        column = KeyColumn.parse(key) if isinstance(key, str) else key
        identifiers = CanonicalColumn.of(_table(data), column, _rows_read(report))
        parameters = Parameters(
            platform=self.home.id,
            ruleset=ManifestRuleset(version=column.ruleset.version, digest=column.ruleset.digest),
            n_max=n_max or default_n_max(identifiers.n_rows),
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
            progress=_advanced(report, "evaluating", identifiers.n_rows),
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
    ) -> SignedManifest:
        """Add identifiers to a dataset's newest epoch and remove others, and log the new manifest.

        Costs what changes, not what the dataset holds.

        Args:
            name: the dataset's name.
            key: the key column of both tables, or ``KIND=COLUMN``.
            add: what is new: as ``data`` of ``encode``, or None.
            remove: what is gone: likewise.
            progress: called as identifiers are evaluated.

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
            add=None if add is None else _table(add),
            remove=None if remove is None else _table(remove),
            progress=_advanced(progress or _quiet, "evaluating", 0),
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
    ) -> SignedManifest:
        """Encode a dataset anew, under a new key; the older keys are destroyed after a grace.

        Args:
            data: as of ``encode``: the whole list.
            key: the key column, or ``KIND=COLUMN``.
            name: the dataset's name; its sizes stay as they are.
            grace_days: for how many days older epochs can still be served.
            memory_bytes: as of ``encode``.
            progress: called as steps advance.

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
        )
        self._publication().retire_older(name, timedelta(days=grace_days))
        return signed

    def destroy_due_keys(self) -> list[SignedManifest]:
        """Destroy the keys of older epochs whose grace is over; ``serve`` does so, too.

        Raises:
            ConfigError: the disk refuses.
        """
        require_role(self.home, "platform")
        return self._publication().destroy_due_keys()

    def verify_dataset(self, name: str) -> SignedManifest:
        """Verify a dataset's newest epoch: signature, log entry, key, and every shard.

        Raises:
            VerificationError: something is not as the manifest or the log says.
            ConfigError: there is no such dataset, or its key is not the manifest's.
        """
        return self._publication().verify(name)

    def revoke_dataset(self, name: str) -> Revoked:
        """Serve a dataset's newest epoch no more, by running servers too; tell who has it.

        Raises:
            ConfigError: there is no such dataset.
            AuditError: the log cannot take the entry; try again.
        """
        require_role(self.home, "platform")
        return self._publication().revoke(name)

    def _publication(self) -> Publication:
        return Publication(self.home, self.log, self.journal)

    def datasets(self) -> list[SignedManifest]:
        """Return the newest epoch of each dataset of this platform."""
        store = self._store()
        return [store.open(name).signed for name in store.names()]

    def exchanges(self) -> list[Row]:
        """Return this party's exchanges, the newest first, each as far as it has come."""
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

    def serve(
        self,
        address: str,
        *,
        datasets: Iterable[Path | str] = (),
        lists: Iterable[ListSource] = (),
        out: Path | None = None,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        progress: Progress | None = None,
        logged: Callable[[Entry], None] | None = None,
    ) -> Server:
        """Serve encoded datasets and lists until the server is stopped.

        Args:
            address: ``host:port``; port 0 takes a free one.
            datasets: names of this platform's datasets, or folders of epochs.
            lists: lists served with ``ecdh`` and ``openmined``.
            out: with output ``both``: the folder for the platform's own matches, a file an exchange.
            idle_timeout_s: how long an exchange may stand still before it is aborted.
            progress: called as lists are read.
            logged: called with every new entry of the log, soon after it is there.

        Raises:
            ConfigError: nothing is to be served, or the address is not usable.
        """
        require_role(self.home, "platform")
        report = progress or _quiet
        sources = [ListSource(_table(each.data), each.key, each.name) for each in lists]
        prepared = [self._prepare(source.data, source.key, report) for source in sources]
        self._publication().destroy_due_keys()
        offerings: list[Offering] = [self._encoded(dataset) for dataset in datasets]
        offerings += [_listed(s, p) for s, p in zip(sources, prepared, strict=True)]
        if not offerings:
            raise ConfigError(
                "there is nothing to serve",
                mend="Name a dataset with --dataset, or a list with --data, --key and --name.",
                reason="nothing_to_serve",
            )
        own = {s.name: (s, p) for s, p in zip(sources, prepared, strict=True)}
        return Server(
            self,
            address,
            offerings=offerings,
            matched=_matches_writer(own, out),
            idle_timeout_s=idle_timeout_s,
            logged=logged,
        )

    def _prepare(self, table: Table, key: KeyColumn, report: Progress) -> PreparedList:
        return prepare(table, key, _rows_read(report))

    def _store(self) -> DatasetStore:
        return DatasetStore(self.home.datasets_path, public_key=self.home.card.log_key)

    def _encoded(self, dataset: Path | str) -> EncodedOffering:
        folder = Path(dataset)
        if folder.is_dir():
            return EncodedOffering(open_dataset(folder, self.home.card.log_key))
        return EncodedOffering(self._store().open(str(dataset)))


class Session:
    """An authority's session with one platform. Use as a context manager.

    Args:
        party: the authority.
        platform: the platform, as pinned.
        dial: connects to it.
    """

    def __init__(self, party: Party, platform: Peer, dial: Callable[[], Channel]) -> None:
        self._party = party
        self._platform = platform
        self._dial = dial
        self._channel: Channel | None = None

    def match(
        self,
        data: Any,
        *,
        key: KeyColumn | str,
        dataset: str,
        mandate: bytes | Path,
        protocol: str = suite.Protocol.OPRF,
        output: str = Output.MATCHES,
        operator: str | None = None,
        out: Path | str | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> Match:
        """Find out which rows of a list the platform knows too.

        Args:
            data: a ``Table``, the path of a file, or anything with the Arrow PyCapsule interface: a
                ``pyarrow.Table``, a pandas, polars or DuckDB object.
            key: ``KIND=COLUMN``, or a ``KeyColumn``.
            dataset: the platform's name for its set.
            mandate: the envelope's bytes, or the path of its file.
            protocol: ``oprf``, ``ecdh`` or ``openmined``.
            output: ``matches``, ``count`` or ``both``.
            operator: who runs it, for this party's records; the user's login name where None.
            out: where to write every matching row, all columns, in input order; that it can be
                written is found out before anything is asked, and it exists only on success.
            overwrite: whether a file that is there is replaced.
            progress: called as steps advance.

        Raises:
            InputError: the list cannot be read, or ``out`` cannot be written.
            AuthorisationError: the platform refuses; its reason code says why.
            PeerError: the platform is silent, unreachable, or breaks the protocol.
            AuditError: this party's log cannot take an entry.
        """
        started = time.monotonic()
        report = progress or _quiet
        table = _table(data)
        column = KeyColumn.parse(key) if isinstance(key, str) else key
        wanted = _choice(Output, output, "output")
        if out is not None and wanted is Output.COUNT:
            raise _tells_no_row()
        with contextlib.ExitStack() as stack:
            file = None
            if out is not None:
                file = stack.enter_context(ResultFile(out, table.schema, overwrite=overwrite))
            prepared = self._party._prepare(table, column, report)  # noqa: SLF001  the same module
            ask = Ask(
                identifiers=prepared.distinct,
                kind=column.kind,
                namespace=column.namespace,
                ruleset=column.ruleset,
                dataset=dataset,
                protocol=_choice(suite.Protocol, protocol, "protocol"),
                output=wanted,
                mandate=_read_mandate(mandate),
                operator=operator or _login(),
            )
            outcome = self._exchange(ask, report)
            match = _match(table, prepared, outcome, wanted, time.monotonic() - started)
            if file is not None:
                for batch in match.batches():
                    file.write(batch)
        return match

    def _exchange(self, ask: Ask, report: Progress) -> Outcome:
        party = self._party
        rooms = AuthorityRooms(party.home, party.peers, party.log, party.register)
        if self._channel is None:
            self._channel = self._dial()
        authority = Authority(rooms, self._channel, self._platform, report)
        authority.recover()
        return authority.exchange(ask)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


class Server:
    """A platform that serves. It runs from its making to ``stop``.

    Attributes:
        port: where it listens.
        address: the same, as ``host:port``.
        datasets: the names of what it serves, sorted.
        recovered: exchanges of a process that is gone, which it has recorded as aborted.
    """

    def __init__(
        self,
        party: Party,
        address: str,
        *,
        offerings: list[Offering],
        matched: Callable[[bytes, str, pa.Array], None] | None,
        idle_timeout_s: float,
        logged: Callable[[Entry], None] | None,
    ) -> None:
        self.datasets = sorted({offering.name for offering in offerings})
        self._budget = Budget(party.home.state_path)
        rooms = PlatformRooms(
            home=party.home,
            peers=party.peers,
            log=party.log,
            budget=self._budget,
            register=party.register,
            policy=Policy.load(party.home.policy_path),
        )
        self._platform = Platform(rooms, offerings, matched=matched, idle_timeout_s=idle_timeout_s)
        self.recovered = self._platform.recover()
        self._server = GrpcServer(
            self._platform,
            address=address,
            identity=tls_identity(party.home),
            pinned_clients=lambda: _pinned_authorities(party.peers),
            on_stranger=_turned_away,
        )
        self.port = self._server.start()
        self.address = str(Address(Address.parse(address).host, self.port))
        self._news = None if logged is None else _News(party.log, logged)
        self._stopped = threading.Event()
        self._keeper = threading.Thread(
            target=self._keep_house, name="psishare-keeper", daemon=True
        )
        self._keeper.start()

    def stop(self) -> None:
        """Take no more calls, abort what is still open, and return within seconds."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        quiet = self._server.stop()
        self._keeper.join()
        self._platform.stop()
        if self._news is not None:
            self._news.tell()
        # A call that is still being worked out holds the budget; its thread ends with the process.
        if quiet:
            self._budget.close()

    def __enter__(self) -> Self:
        """Return the server."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def _keep_house(self) -> None:
        while not self._stopped.wait(HOUSEKEEPING_S):
            try:
                self._platform.expire()
                if self._news is not None:
                    self._news.tell()
            except PsishareError as error:
                # The disk may be full; it is tried again, and calls are refused meanwhile.
                _logger.warning("%s [%s]", error.message, error.reason)


class _News:
    """Tells of each entry that has come into a log since this was made."""

    def __init__(self, log: Log, told: Callable[[Entry], None]) -> None:
        self._log = log
        self._told = told
        self._size = log.size

    def tell(self) -> None:
        """Tell of what has come since the last time."""
        start, self._size = self._size, self._log.size
        for data in self._log.entries(start, self._size):
            self._told(parse_entry(data))


@dataclass(frozen=True, slots=True)
class Example:
    """A published value of a kind: what it becomes, or why it is rejected, and by which rule."""

    value: str
    canonical: str | None
    reason: str | None
    rule: str


@dataclass(frozen=True, slots=True)
class KindDescription:
    """A kind of identifiers.

    Attributes:
        name: its name, such as ``phone``.
        summary: what it is, in a few words.
        note: what was chosen, and what to mind.
        takes_region: whether a default region completes its values.
        version: the specification's number.
        digest: of what this installation makes of the published values; both parties' must agree.
        examples: published values.
    """

    name: str
    summary: str
    note: str
    takes_region: bool
    version: int
    digest: str
    examples: tuple[Example, ...]


def kind_names() -> tuple[str, ...]:
    """Return the names of all kinds of identifiers."""
    return tuple(KINDS)


def describe_kind(name: str) -> KindDescription:
    """Describe a kind of identifiers.

    Raises:
        InputError: ``kind_unknown``.
    """
    found = kind(name)
    examples = tuple(
        Example(case.input, case.canonical, case.reason, case.rule)
        for case in vectors(name)
        if case.input and len(case.input) <= EXAMPLE_CHARACTERS and case.region is None
    )
    return KindDescription(
        name=found.name,
        summary=found.summary,
        note=found.note,
        takes_region=found.takes_region,
        version=ruleset_version(name),
        digest=ruleset_digest(name),
        examples=examples,
    )


def check_list(
    data: Any,
    key: KeyColumn | str,
    *,
    rejects: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ListQuality:
    """Count what a list's key column holds: accepted, repaired, rejected, twice.

    Args:
        data: a table, the path of its file, or anything with the Arrow PyCapsule interface.
        key: the key column, or ``KIND=COLUMN``.
        rejects: where to write the rejected rows, with row number and reason; mode 0600.
        overwrite: whether a file that is there is replaced.
        progress: called as rows are read.

    Raises:
        InputError: the list cannot be read, or the rejected rows cannot be written.
    """
    table = _table(data)
    column = KeyColumn.parse(key) if isinstance(key, str) else key
    report, rows = progress or _quiet, 0

    def read(n_rows: int) -> None:
        nonlocal rows
        rows += n_rows
        report("reading", rows, 0)

    if rejects is None:
        return list_quality(table, column, read)
    with ResultFile(rejects, rejects_schema(table), overwrite=overwrite) as file:
        return list_quality(table, column, read, rejects=file)


def init_party(path: Path, *, party_id: str, role: str, display_name: str) -> Home:
    """Make a party's home folder, and its log where its role keeps one.

    Raises:
        ConfigError: the folder exists already, or the id or name is not valid.
    """
    home = Home.init(path, id=party_id, role=role, display_name=display_name)
    if role in LOGGING_ROLES:
        Log.create(home.log_path, **_log_signers(home)).append(_log_created(home))
    return home


def pin_peer(
    home: Home, card_file: bytes, *, fingerprint: str, trusted_as: frozenset[str] = frozenset()
) -> Peer:
    """Pin a party, or take a newer card of one that is pinned; the log says so, where one is kept.

    Args:
        home: of any role.
        card_file: as ``psishare party export`` wrote it.
        fingerprint: twelve words, as a person heard them from the card's owner.
        trusted_as: any of ``issuer`` and ``validator``; replaces what was there.

    Raises:
        ConfigError: the card or the fingerprint is not right.
        AuditError: the log cannot take the entry; then the party is not pinned, nor as it was before.
    """
    peers = Peers(home.peers_path)
    peer = peers.add(card_file, fingerprint=fingerprint, trusted_as=trusted_as)
    try:
        _log_peer(home, PeerAdded, peer)
    except AuditError:
        peers.remove(peer.id)
        raise
    return peer


def unpin_peer(home: Home, party_id: str) -> Peer:
    """Forget a pinned party; the log says so, where one is kept.

    Raises:
        ConfigError: it is not pinned.
        AuditError: it is forgotten, but the log cannot take the entry.
    """
    peer = Peers(home.peers_path).remove(party_id)
    _log_peer(home, PeerRemoved, peer)
    return peer


@dataclass(frozen=True, slots=True)
class DraftedMandate:
    """A mandate that nobody has signed yet.

    Attributes:
        mandate: its content.
        envelope: its file's bytes.
    """

    mandate: Mandate
    envelope: bytes


def draft_mandate(home: Home, case: str, **fields: Any) -> DraftedMandate:
    """Draft a mandate, and keep its case's reference, sealed to this home, in its ``mandates``.

    Args:
        home: whoever drafts it.
        case: the reference under which the case is kept; only a commitment to it leaves this home.
        fields: the keywords of ``psishare.mandates.draft.draft``, but for ``case``.

    Raises:
        InputError: a field is not what protocols/specs/mandate.md allows.
        ConfigError: the reference cannot be kept.
    """
    reference = CaseReference.new(case)
    mandate = draft(case=reference, **fields)
    sealed = reference.seal(home.card.sealing_key_bytes)
    write_durably(
        home.mandates_path / f"{mandate.id}.case",
        sealed,
        error=ConfigError,
        reason="home_unwritable",
    )
    return DraftedMandate(mandate, new_envelope(mandate))


def verify_mandate(envelope: bytes, peers: Peers) -> VerifiedMandate:
    """Verify that issuer and validator, as this home trusts them, have signed, and that it is valid.

    Raises:
        AuthorisationError: it is malformed, not signed by both, not valid yet, or expired.
    """
    keys = TrustedKeys(peers.trusted("issuer"), peers.trusted("validator"))
    verified = verify_envelope(envelope, keys)
    mandate = verified.mandate
    smallest = Request(
        authority=mandate.authority,
        platform=mandate.platform,
        protocol=mandate.protocols[0],
        dataset=next(iter(mandate.datasets), None),
        kind=mandate.kinds[0],
        output=mandate.outputs[0],
        rows=0,
    )
    # What it covers by its own words it covers, unless this is not its time.
    check_mandate(mandate, smallest, now=now())
    return verified


def log_size(home: Home) -> int | None:
    """Return how many entries the party's log has, or None where its role keeps none.

    Raises:
        AuditError: it does not recover.
    """
    return open_log(home).size if home.card.role in LOGGING_ROLES else None


def open_log(home: Home) -> Log:
    """Open a party's log.

    Raises:
        AuditError: it does not recover.
    """
    return Log.open(home.log_path, **_log_signers(home))


def tls_identity(home: Home) -> TlsIdentity:
    """Return a party's certificate and key as the transport takes them."""
    identity = home.tls_identity()
    return TlsIdentity(identity.cert_pem, identity.key_pem)


def require_role(home: Home, role: str) -> None:
    """Refuse to do with one party's home what another role does.

    Raises:
        ConfigError: the home is of another role.
    """
    if home.card.role != role:
        raise ConfigError(
            f"{home.id} is of role {home.card.role}; this is done by a party of role {role}",
            mend=f"Use --home with the folder of a party of role {role}.",
            reason="role_unfit",
        )


def default_n_max(n_items: int) -> int:
    """Return 2^24, or the next power of two that leaves a quarter of headroom."""
    wanted = n_items + n_items // 4
    return max(DEFAULT_N_MAX, 1 << max(0, wanted - 1).bit_length())


def _log_signers(home: Home) -> dict[str, Any]:
    return {
        "origin": home.id,
        "signer": NoteSigner(home.id, SignatureType.ED25519, home.log_signer()),
        "pq_signer": NoteSigner(home.id, SignatureType.ML_DSA_44, home.pq_signer()),
    }


def _log_peer(home: Home, entry: type[PeerAdded | PeerRemoved], peer: Peer) -> None:
    if home.card.role in LOGGING_ROLES:
        open_log(home).append(
            entry(
                peer=peer.id,
                role=peer.card.role,
                card_sha256=peer.card.sha256.hex(),
                trusted_as=tuple(role for role in TRUST_ROLES if role in peer.trusted_as),
            )
        )


def _log_created(home: Home) -> LogCreated:
    return LogCreated(party=home.id, role=home.card.role, card_sha256=home.card.sha256.hex())


def _pinned_authorities(peers: Peers) -> tuple[bytes, ...]:
    with contextlib.suppress(ConfigError):
        peers.reload()
    return tuple(
        certificate
        for peer in peers
        if peer.card.role == "authority"
        for certificate in peer.card.certificates()
    )


def _turned_away(certificate_sha256: bytes) -> None:
    _logger.warning("turned away a certificate that is not pinned: %s", certificate_sha256.hex())


def _listed(source: ListSource, prepared: PreparedList) -> ListOffering:
    require_name(source.name)
    return ListOffering.of(
        prepared.distinct,
        name=source.name,
        kind=source.key.kind,
        namespace=source.key.namespace,
        ruleset=source.key.ruleset,
    )


def _matches_writer(
    own: dict[str, tuple[ListSource, PreparedList]], out: Path | None
) -> Callable[[bytes, str, pa.Array], None] | None:
    """Return what writes the platform's own matches, a file an exchange (output ``both``)."""
    if out is None:
        return None

    def write(exchange_id: bytes, name: str, matched: pa.Array) -> None:
        source, prepared = own[name]
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = out / f"{exchange_id.hex()}.csv"
        write_matches(source.data, prepared.mask(matched), path, overwrite=False)

    return write


def _match(
    table: Table, prepared: PreparedList, outcome: Outcome, output: str, seconds: float
) -> Match:
    mask = None if output == Output.COUNT else prepared.mask(outcome.matched)
    matched_rows = None if mask is None else pc.sum(mask).as_py() or 0
    summary = Summary(
        rows=prepared.n_rows,
        rejected=prepared.rejected,
        distinct=len(prepared.distinct),
        matched=len(outcome.matched),
        matched_rows=matched_rows,
        platform_rows=outcome.elements,
        seconds=seconds,
    )
    return Match(outcome.receipt, summary, outcome.cosigned, prepared.first_rejects, table, mask)


def _table(data: Any) -> Table:
    if isinstance(data, Table):
        return data
    return open_table(data) if isinstance(data, Path) else Table.from_arrow(data)


def _tells_no_row() -> InputError:
    return InputError(
        "an exchange with output `count` tells how many match, not which",
        mend="Use `.count`, or ask for output `matches` under a mandate that permits it.",
        reason="output_is_count",
    )


def _advanced(report: Progress, step: str, total: int) -> Callable[[int], None]:
    """Return what adds up the items done in a step, and reports them."""
    done = 0

    def advanced(items: int) -> None:
        nonlocal done
        done += items
        report(step, done, total)

    return advanced


def _rows_read(report: Progress) -> Callable[[int], None]:
    return _advanced(report, "reading", 0)


def _choice(kind: type[Choice], text: str, what: str) -> Choice:
    try:
        return kind(text)
    except ValueError:
        raise InputError(
            f"there is no {what} {text!r}",
            mend=f"Choose one of {', '.join(kind)}.",
            reason=f"{what}_unknown",
        ) from None


def _read_mandate(mandate: bytes | Path) -> bytes:
    if isinstance(mandate, bytes):
        return mandate
    try:
        return mandate.read_bytes()
    except OSError as error:
        raise InputError(
            f"the mandate {mandate} cannot be read: {error.strerror}",
            mend="Name the mandate's file with --mandate.",
            reason="mandate_missing",
        ) from error


def _login() -> str:
    """Return the user's login name, or the number where the machine has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _quiet(_step: str, _done: int, _total: int) -> None:
    """Report nothing."""
