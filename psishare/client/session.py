"""An authority's session with one platform."""

from __future__ import annotations

import contextlib
import getpass
import os
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self, TypeVar

from psishare.errors import InputError
from psishare.exchange.authority import Ask, Authority, AuthorityRooms, Progress
from psishare.exchange.prepared_list import KeyColumn, prepare
from psishare.psi import suite
from psishare.psi.suite import Output
from psishare.tables import ResultFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from psishare.client.party import Party
    from psishare.exchange.authority import Outcome
    from psishare.parties.peers import Peer
    from psishare.transport.channel import Channel


from psishare.client.cancellable_channel import CancellableChannel
from psishare.client.cancellation import Cancellation
from psishare.client.input_table import input_table
from psishare.client.match import Match, match_of, tells_no_row
from psishare.client.progress import quiet, rows_read

Choice = TypeVar("Choice", bound=StrEnum)


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
            InputError: the list cannot be read, or ``out`` cannot be written.
            AuthorisationError: the platform refuses; its reason code says why.
            PeerError: the platform is silent, unreachable, or breaks the protocol.
            AuditError: this party's log cannot take an entry.
        """
        started = time.monotonic()
        stop = cancellation or Cancellation()
        report = stop.watching(progress or quiet)
        table = input_table(data)
        column = KeyColumn.parse(key) if isinstance(key, str) else key
        wanted = _choice(Output, output, "output")
        if out is not None and wanted is Output.COUNT:
            raise tells_no_row()
        with contextlib.ExitStack() as stack:
            file = None
            if out is not None:
                file = stack.enter_context(ResultFile(out, table.schema, overwrite=overwrite))
            prepared = prepare(table, column, rows_read(report))
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
            outcome = self._exchange(ask, report, cancellation)
            match = match_of(table, prepared, outcome, wanted, time.monotonic() - started)
            if file is not None:
                for batch in match.batches():
                    stop.check()
                    file.write(batch)
            stop.check()
        return match

    def _exchange(self, ask: Ask, report: Progress, stop: Cancellation | None) -> Outcome:
        party = self._party
        rooms = AuthorityRooms(party.home, party.peers, party.log, party.register)
        with self._carrying(stop) as channel:
            authority = Authority(rooms, channel, self._platform, report)
            authority.recover()
            return authority.exchange(ask)

    @contextlib.contextmanager
    def _carrying(self, stop: Cancellation | None) -> Iterator[Channel]:
        """Yield the channel, made the first time that it is wanted; its calls can be stopped."""
        if stop is None:
            self._channel = self._channel or self._dial()
            yield self._channel
            return
        if self._channel is None:
            self._channel = stop.made(self._dial)
        with CancellableChannel(self._channel, stop) as channel:
            yield channel

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
