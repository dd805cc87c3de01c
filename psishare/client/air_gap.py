"""Exchanges by files, between parties whose machines share no network."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psishare.client.platform_rooms import platform_rooms
from psishare.errors import InputError
from psishare.exchange.ask import Ask
from psishare.exchange.document import now, write_time
from psishare.exchange.offer import Offer
from psishare.exchange.offline_authority import OfflineAuthority, unexpected
from psishare.exchange.offline_platform import OfflinePlatform
from psishare.exchange.parcels import Parcels, give_out, require_free
from psishare.exchange.platform import Platform
from psishare.exchange.prepared_list import KeyColumn, prepare
from psishare.exchange.rooms import AuthorityRooms
from psishare.mandates.archive import MandateArchive
from psishare.mandates.budget import Budget
from psishare.psi import suite
from psishare.psi.suite import Output
from psishare.tables import ResultFile
from psishare.transport.parcel import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from psishare.client.party import Party
    from psishare.client.served_list import ListSource
    from psishare.datasets.manifest import SignedManifest
    from psishare.exchange.offline_platform import Answered
    from psishare.exchange.progress import Progress
    from psishare.exchange.register import Row
    from psishare.parties.peers import Peer
    from psishare.tables import Table
    from psishare.transport.parcel import Parcel

from psishare.client.input_table import input_table
from psishare.client.match import Match, match_of, tells_no_row
from psishare.client.opened_home import require_role
from psishare.client.resumption import key_again, table_again, task_again, task_of
from psishare.client.served_list import matches_writer
from psishare.client.served_sets import ServedSets
from psishare.client.session import login, read_mandate, terms_chosen
from psishare.exchange.progress import quiet, rows_read

EXPIRES_DAYS = 30


@dataclass(frozen=True, slots=True)
class OfflineRequest:
    """A request that has been written, and waits for its answer.

    Attributes:
        exchange_id: hexadecimal.
        parcel: the file for the courier.
        expires: after when nothing goes on, ``YYYY-MM-DDThh:mm:ssZ``.
        rows: rows of the input.
        rejected: rows without an identifier of the kind, by reason code.
        distinct: distinct identifiers, which is what is asked.
    """

    exchange_id: str
    parcel: Path
    expires: str
    rows: int
    rejected: dict[str, int]
    distinct: int


@dataclass(frozen=True, slots=True)
class OfflineAnswer:
    """What became of a parcel of an authority.

    Attributes:
        exchange_id: hexadecimal.
        authority: who sent it.
        parcel: the file for the courier; a refusal travels in it, too.
        state: how far the exchange has come here, such as ``opened``, ``closed`` or ``refused``.
        reason: why it was refused or aborted; None where it was not.
        repeated: whether the parcel had been answered before: this is the same answer.
    """

    exchange_id: str
    authority: str
    parcel: Path
    state: str
    reason: str | None
    repeated: bool


class AirGap:
    """One party's side of exchanges by files (protocols/specs/offline.md).

    An authority requests, finishes and releases; a platform answers and confirms. What stands between
    the steps is in the home folder; a list is read again at each step, and must be the same.

    Args:
        party: opened.
    """

    def __init__(self, party: Party) -> None:
        self._party = party

    # The authority.

    def request(
        self,
        data: Any,
        *,
        key: KeyColumn | str,
        platform: str,
        dataset: str,
        mandate: bytes | Path,
        out: Path,
        protocol: str = suite.Protocol.OPRF,
        output: str = Output.MATCHES,
        operator: str | None = None,
        expires_days: int = EXPIRES_DAYS,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> OfflineRequest:
        """Write a request: the offer, and every identifier of a list, blinded.

        Args:
            data: as of ``Session.match``.
            key: ``KIND=COLUMN``, or a ``KeyColumn``.
            platform: the pinned platform's id.
            dataset: the platform's name for its set; with ``oprf`` it has been taken with
                ``synchronise``.
            mandate: the envelope's bytes, or the path of its file.
            out: where the parcel is written.
            protocol: ``oprf``, ``ecdh`` or ``openmined``.
            output: ``matches``, ``count`` or ``both``.
            operator: who runs it, for this party's records; the user's login name where None.
            expires_days: for how many days the exchange can go on; 1 to 366.
            overwrite: whether a file that is there is replaced.
            progress: called as steps advance.

        Returns:
            The parcel, and what it asks.

        Raises:
            InputError: the list cannot be read, or ``out`` cannot be written.
            ConfigError: the platform is not pinned, or the dataset has not been taken.
            AuditError: this party's state cannot be written.
        """
        chosen, wanted = terms_chosen(protocol, output)
        require_free(out, overwrite=overwrite)
        report = progress or quiet
        table, column = input_table(data), _column(key)
        prepared = prepare(table, column, rows_read(report))
        ask = Ask(
            identifiers=prepared.distinct,
            kind=column.kind,
            namespace=column.namespace,
            ruleset=column.ruleset,
            dataset=dataset,
            protocol=chosen,
            output=wanted,
            mandate=read_mandate(mandate),
            operator=operator or login(),
            task=task_of(table, column, None, None, overwrite=False),
        )
        expires = now() + timedelta(days=expires_days)
        kept = self._authority(platform, report).request(ask, expires=expires)
        give_out(kept, out, overwrite=overwrite)
        return OfflineRequest(
            exchange_id=kept.parent.name,
            parcel=out,
            expires=write_time(expires),
            rows=prepared.n_rows,
            rejected=prepared.rejected,
            distinct=len(prepared.distinct),
        )

    def finish(
        self,
        parcel: Path,
        *,
        out: Path,
        data: Any = None,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> str:
        """Verify a platform's answers and write the signed receipt; nothing is told of the result yet.

        Args:
            parcel: the platform's answer.
            out: where the parcel for the platform is written.
            data: the list that was asked about, unchanged, where it does not lie where it lay.
            overwrite: whether a file that is there is replaced.
            progress: called as steps advance.

        Returns:
            The exchange's id, hexadecimal.

        Raises:
            AuthorisationError: the platform has refused; its reason code says why.
            ProtocolError: an answer is wrong, or the parcel is not one that is waited for.
            InputError: ``list_differs``; or ``out`` cannot be written.
        """
        require_free(out, overwrite=overwrite)
        report = progress or quiet
        with self._taken(parcel, Kind.ANSWER, "platform") as taken:
            table, column = self._list(taken, data)
            prepared = prepare(table, column, rows_read(report))
            kept = self._authority(taken.head.sender, report).finish(prepared.distinct, taken)
        give_out(kept, out, overwrite=overwrite)
        return kept.parent.name

    def release(
        self,
        parcel: Path,
        *,
        out: Path | str | None = None,
        data: Any = None,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> Match:
        """Verify a platform's countersignature, log that the exchange is closed, and return the result.

        Args:
            parcel: the platform's confirmation.
            out: where to write every matching row, all columns, in input order; it exists only on
                success.
            data: the list that was asked about, unchanged, where it does not lie where it lay.
            overwrite: whether a file that is there is replaced.
            progress: called as rows are read.

        Returns:
            The result, as of ``Session.match``.

        Raises:
            ProtocolError: the platform did not close the exchange, or the parcel is not one that is
                waited for.
            InputError: ``list_differs``; ``exchange_finished``, the result was handed over before;
                or ``out`` cannot be written.
        """
        started = time.monotonic()
        report = progress or quiet
        with contextlib.ExitStack() as stack:
            taken = stack.enter_context(self._taken(parcel, Kind.CONFIRMATION, "platform"))
            table, column = self._list(taken, data)
            wanted = Output(Offer.parse(self._row(taken).offer).output)
            if out is not None and wanted is Output.COUNT:
                raise tells_no_row()
            file = None
            if out is not None:
                file = stack.enter_context(ResultFile(out, table.schema, overwrite=overwrite))
            prepared = prepare(table, column, rows_read(report))
            authority = self._authority(taken.head.sender, report)
            outcome = authority.release(prepared.distinct, taken)
            match = match_of(
                table,
                prepared,
                outcome,
                output=wanted,
                out=out,
                seconds=time.monotonic() - started,
            )
            if file is not None:
                for batch in match.batches():
                    file.write(batch)
        # Only now nobody needs it to be kept any longer.
        authority.hand_over(bytes.fromhex(match.exchange_id))
        return match

    def output(self, parcel: Path) -> str:
        """Return what the exchange of a platform's confirmation was to tell.

        Args:
            parcel: the confirmation.

        Returns:
            ``matches``, ``count`` or ``both``.

        Raises:
            ProtocolError: the parcel is damaged, or not one that is waited for.
            InputError: it cannot be read.
        """
        with self._taken(parcel, Kind.CONFIRMATION, "platform") as taken:
            return Offer.parse(self._row(taken).offer).output

    def synchronise(
        self,
        parcel: Path,
        *,
        mandate: bytes | Path | None = None,
        progress: Progress | None = None,
    ) -> SignedManifest:
        """Take a platform's dataset from a parcel: verify it, keep it, log that it was delivered.

        Args:
            parcel: as the platform exported it.
            mandate: the envelope under which it was exported, or the path of its file; one that is
                kept here already where None.
            progress: called with the number of bytes taken.

        Returns:
            The dataset's manifest, verified.

        Raises:
            AuthorisationError: ``mandate_mismatch``: it was exported under another mandate.
            ProtocolError: the manifest is not one that the platform published.
            VerificationError: a shard is not what the manifest says.
            ConfigError: the copy cannot be written.
        """
        report = progress or quiet
        with self._taken(parcel, Kind.DATASET, "platform") as taken:
            envelope = self._mandate(taken) if mandate is None else read_mandate(mandate)
            authority = self._authority(taken.head.sender, report)
            return authority.synchronise(taken, envelope).signed

    # The platform.

    def export(
        self,
        dataset: str,
        *,
        mandate: bytes | Path,
        authority: str,
        out: Path,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> Path:
        """Write a dataset for an authority, under its mandate; log that it was delivered.

        Args:
            dataset: the name of one of this platform's datasets.
            mandate: the envelope's bytes, or the path of its file.
            authority: the pinned authority's id.
            out: where the parcel is written.
            overwrite: whether a file that is there is replaced.
            progress: called with the number of shards written.

        Returns:
            ``out``.

        Raises:
            AuthorisationError: the mandate does not cover it; that is logged.
            ConfigError: there is no such dataset, or the authority is not pinned.
            InputError: ``out`` cannot be written.
        """
        require_free(out, overwrite=overwrite)
        envelope = read_mandate(mandate)
        with self._platform([dataset], (), None, progress or quiet) as platform:
            platform.export(dataset, envelope, authority, out)
        return out

    def answer(
        self,
        parcel: Path,
        *,
        out: Path,
        datasets: Iterable[Path | str] = (),
        lists: Iterable[ListSource] = (),
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> OfflineAnswer:
        """Answer an authority's request: check mandate, policy and budget, evaluate, or refuse.

        The same parcel again gets the same answer, byte for byte, and costs nothing.

        Args:
            parcel: the authority's request.
            out: where the parcel for the authority is written.
            datasets: names of this platform's datasets, or folders of epochs, that are served.
            lists: lists served with ``ecdh`` and ``openmined``.
            overwrite: whether a file that is there is replaced.
            progress: called as frames are answered.

        Returns:
            What became of it. A refusal is an answer, too.

        Raises:
            ProtocolError: the parcel is damaged, misdirected or expired; nothing was done.
            InputError: the parcel cannot be read, or ``out`` cannot be written.
            AuditError: this party's log or state fails; try again.
        """
        require_free(out, overwrite=overwrite)
        with self._platform(datasets, lists, None, progress or quiet) as platform:
            answered = platform.answer(parcel)
        return _given_out(answered, out, overwrite=overwrite)

    def confirm(
        self,
        parcel: Path,
        *,
        out: Path,
        datasets: Iterable[Path | str] = (),
        lists: Iterable[ListSource] = (),
        matches: Path | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> OfflineAnswer:
        """Countersign an authority's receipt, once it is in this party's log.

        Args:
            parcel: the authority's receipt.
            out: where the parcel for the authority is written.
            datasets: what the exchange was answered from, as of ``answer``.
            lists: likewise.
            matches: with output ``both``: the folder for this side's own matches.
            overwrite: whether a file that is there is replaced.
            progress: called as frames are answered.

        Returns:
            What became of it.

        Raises:
            ConfigError: ``not_restorable``: what the exchange was answered from was not named.
            ProtocolError: the parcel is damaged, misdirected or expired; nothing was done.
            InputError: the parcel cannot be read, or ``out`` cannot be written.
            AuditError: this party's log or state fails; try again.
        """
        require_free(out, overwrite=overwrite)
        with self._platform(datasets, lists, matches, progress or quiet) as platform:
            answered = platform.confirm(parcel)
        return _given_out(answered, out, overwrite=overwrite)

    # Insides.

    def _authority(self, platform: str, report: Progress) -> OfflineAuthority:
        authority = OfflineAuthority(self._authority_rooms(), self._peer(platform), report)
        authority.recover()
        return authority

    def _authority_rooms(self) -> AuthorityRooms:
        party = self._party
        require_role(party.home, "authority")
        party.home.unlock()
        return AuthorityRooms(party.home, party.peers, party.log, party.register)

    def _peer(self, party: str) -> Peer:
        return self._party.peers.get(party)

    @contextlib.contextmanager
    def _taken(self, path: Path, kind: Kind, role: str) -> Iterator[Parcel]:
        with Parcels(self._authority_rooms()).take(path, kind, role) as parcel:
            yield parcel

    def _mandate(self, parcel: Parcel) -> bytes:
        sha256 = parcel.head.mandate_sha256
        envelope = MandateArchive(self._party.home.mandates_path).get(sha256)
        if envelope is None:
            raise InputError(
                "the mandate under which the dataset was exported is not kept here",
                mend="Name its file with --mandate.",
                reason="mandate_missing",
            )
        return envelope

    def _row(self, parcel: Parcel) -> Row:
        """Return the exchange that a parcel of a platform is of."""
        row = self._party.register.get(bytes.fromhex(parcel.head.exchange_id or ""))
        if row is None or row.peer != parcel.head.sender:
            raise unexpected("it is of no exchange of this party with its sender")
        return row

    def _list(self, parcel: Parcel, data: Any) -> tuple[Table, KeyColumn]:
        """Return the list that an exchange was begun with, read again, and its key column."""
        row = self._row(parcel)
        task = task_again(self._party, row)
        if data is None:
            return table_again(task), key_again(task, row)
        if isinstance(data, Path) and task.source is not None:
            moved = task.source.model_copy(update={"path": str(data.absolute())})
            return table_again(task.model_copy(update={"source": moved})), key_again(task, row)
        return input_table(data), key_again(task, row)

    @contextlib.contextmanager
    def _platform(
        self,
        datasets: Iterable[Path | str],
        lists: Iterable[ListSource],
        matches: Path | None,
        report: Progress,
    ) -> Iterator[OfflinePlatform]:
        """Yield this platform's side, serving what is named; leave open what it leaves open."""
        party = self._party
        require_role(party.home, "platform")
        party.home.unlock()
        offerings = ServedSets(datasets, lists, keeps_files=False).open(party.home, report)
        with Budget(party.home.state_path) as budget:
            rooms = platform_rooms(party, budget)
            platform = Platform(rooms, offerings, matched=matches_writer(matches))
            try:
                yield OfflinePlatform(rooms, platform, report)
            finally:
                platform.stop()


def _given_out(answered: Answered, out: Path, *, overwrite: bool) -> OfflineAnswer:
    give_out(answered.parcel, out, overwrite=overwrite)
    return OfflineAnswer(
        exchange_id=answered.exchange_id.hex(),
        authority=answered.authority,
        parcel=out,
        state=answered.state.value,
        reason=answered.reason,
        repeated=answered.repeated,
    )


def _column(key: KeyColumn | str) -> KeyColumn:
    return KeyColumn.parse(key) if isinstance(key, str) else key
