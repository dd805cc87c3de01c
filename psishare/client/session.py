"""An authority's session with one platform."""

from __future__ import annotations

import contextlib
import getpass
import os
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self, TypeVar

from psishare.errors import InputError
from psishare.exchange.ask import Ask
from psishare.exchange.authority import Authority
from psishare.exchange.prepared_list import KeyColumn, prepare
from psishare.exchange.progress import Progress
from psishare.exchange.rooms import AuthorityRooms
from psishare.psi import suite
from psishare.psi.suite import Output
from psishare.tables import ResultFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from psishare.client.party import Party
    from psishare.exchange.authority import Outcome
    from psishare.exchange.prepared_list import PreparedList
    from psishare.parties.peers import Peer
    from psishare.tables import Table
    from psishare.transport.channel import Channel


from psishare.client.cancellable_channel import CancellableChannel
from psishare.client.cancellation import Cancellation
from psishare.client.input_table import input_table
from psishare.client.late_channel import LateChannel
from psishare.client.match import Match, match_of, tells_no_row
from psishare.client.resumption import task_of
from psishare.exchange.progress import quiet, rows_read

Choice = TypeVar("Choice", bound=StrEnum)

RETRY_FOR_S = 300.0
"""As long as a platform waits for an authority that is silent, unless it says otherwise."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A list, and what is to become of its matches."""

    table: Table
    key: KeyColumn
    output: Output
    out: Path | str | None
    overwrite: bool


class Session:
    """An authority's session with one platform. Use as a context manager.

    Args:
        party: the authority.
        platform: the platform, as pinned.
        dial: connects to it.
        address: where it listens; None where that cannot be remembered.
        retry_for_s: for how many seconds a call that gets no answer is made again.
    """

    def __init__(
        self,
        party: Party,
        platform: Peer,
        dial: Callable[[], Channel],
        *,
        address: str | None = None,
        retry_for_s: float = RETRY_FOR_S,
    ) -> None:
        self._party = party
        self._platform = platform
        self._address = address
        self._retry_for_s = retry_for_s
        self._channel = LateChannel(platform.id, dial)

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
        cancellation: Cancellation | None = None,
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
            cancellation: stops the match from another thread: the exchange is aborted, in both logs.

        Returns:
            The result: receipt, figures, and the matching rows.

        Raises:
            CancellationError: it was stopped; no file is left.
            InputError: the list cannot be read, ``out`` cannot be written, or the protocol cannot give
                the output.
            AuthorisationError: the platform refuses; its reason code says why.
            TransportError: the platform is silent or unreachable, for longer than ``retry_for_s``;
                ``Party.resume`` goes on with what was begun.
            PeerError: the platform fails, or breaks the protocol.
            AuditError: this party's log cannot take an entry.
        """
        chosen, wanted = terms_chosen(protocol, output)
        table = input_table(data)
        column = KeyColumn.parse(key) if isinstance(key, str) else key

        def asked(authority: Authority, prepared: PreparedList) -> Outcome:
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
                task=task_of(table, column, self._address, out, overwrite=overwrite),
            )
            self._connect(cancellation)
            authority.recover()
            return authority.exchange(ask)

        work = _Work(table, column, wanted, out, overwrite)
        return self._matched(work, progress or quiet, cancellation, asked)

    def resume(
        self,
        exchange_id: bytes,
        data: Any,
        *,
        key: KeyColumn,
        output: str,
        out: Path | str | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
        cancellation: Cancellation | None = None,
    ) -> Match:
        """Go on with an exchange that was left open; ``Party.resume`` knows what it takes.

        Args:
            exchange_id: 32 bytes, registered with this platform.
            data: the list that it was begun with.
            key: its key column.
            output: what it was begun for.
            out: as of ``match``.
            overwrite: as of ``match``.
            progress: called as steps advance.
            cancellation: as of ``match``.

        Returns:
            The result, as ``match``.

        Raises:
            InputError: ``list_differs``; ``exchange_running``; ``exchange_finished``.
            PsishareError: as ``match``.
        """
        work = _Work(input_table(data), key, Output(output), out, overwrite)
        return self._matched(
            work,
            progress or quiet,
            cancellation,
            lambda authority, prepared: authority.resume(exchange_id, prepared.distinct),
        )

    def _matched(
        self,
        work: _Work,
        progress: Progress,
        cancellation: Cancellation | None,
        run: Callable[[Authority, PreparedList], Outcome],
    ) -> Match:
        """Prepare the list, run an exchange, and write what matched, if it is to be written."""
        started = time.monotonic()
        stop = cancellation or Cancellation()
        report = stop.watching(progress)
        if work.out is not None and work.output is Output.COUNT:
            raise tells_no_row()
        table = work.table
        with contextlib.ExitStack() as stack:
            file = None
            if work.out is not None:
                file = stack.enter_context(
                    ResultFile(work.out, table.schema, overwrite=work.overwrite)
                )
            prepared = prepare(table, work.key, rows_read(report))
            with self._carrying(cancellation) as channel:
                authority = self._authority(channel, report)
                outcome = run(authority, prepared)
            match = match_of(
                table,
                prepared,
                outcome,
                output=work.output,
                out=work.out,
                seconds=time.monotonic() - started,
            )
            if file is not None:
                for batch in match.batches():
                    stop.check()
                    file.write(batch)
            stop.check()
        # Only now nobody needs it to be kept any longer.
        authority.hand_over(bytes.fromhex(match.exchange_id))
        return match

    def _authority(self, channel: Channel, report: Progress) -> Authority:
        party = self._party
        rooms = AuthorityRooms(party.home, party.peers, party.log, party.register)
        return Authority(rooms, channel, self._platform, report, retry_for_s=self._retry_for_s)

    def _connect(self, stop: Cancellation | None) -> None:
        """Connect now: who cannot be reached at first is not waited for."""
        if stop is None:
            self._channel.connect()
        else:
            stop.made(self._channel.connect)

    @contextlib.contextmanager
    def _carrying(self, stop: Cancellation | None) -> Iterator[Channel]:
        """Yield the channel; its calls can be stopped."""
        if stop is None:
            yield self._channel
            return
        with CancellableChannel(self._channel, stop) as channel:
            yield channel

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._channel.close()

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


def choice(kind: type[Choice], text: str, what: str) -> Choice:
    """Return the member of an enumeration that a text names.

    Raises:
        InputError: there is none of that name.
    """
    try:
        return kind(text)
    except ValueError:
        raise InputError(
            f"there is no {what} {text!r}",
            mend=f"Choose one of {', '.join(kind)}.",
            reason=f"{what}_unknown",
        ) from None


def terms_chosen(protocol: str, output: str) -> tuple[suite.Protocol, Output]:
    """Return the protocol and the output that two texts name, and that go together.

    Raises:
        InputError: ``protocol_unknown``, ``output_unknown``; ``output_unsupported``.
    """
    chosen, wanted = choice(suite.Protocol, protocol, "protocol"), choice(Output, output, "output")
    if wanted not in chosen.outputs:
        fit = " or ".join(other for other in suite.Protocol if wanted in other.outputs)
        raise InputError(
            f"the protocol {chosen} cannot give the output {wanted}",
            mend=f"{wanted} needs --protocol {fit}.",
            reason="output_unsupported",
        )
    return chosen, wanted


def read_mandate(mandate: bytes | Path) -> bytes:
    """Return a mandate's envelope, from its file where a path is given.

    Raises:
        InputError: ``mandate_missing``.
    """
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


def login() -> str:
    """Return the user's login name, or the number where the machine has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
