"""Tools for exchanges in which a peer, the line or a disk does what it should not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from stage import AUTHORITY, PLATFORM, Stage, column

from psishare.audit.entry import Entry, parse_entry
from psishare.errors import PsishareError, TransportError
from psishare.evidence.verify import Verdict, verify_log
from psishare.exchange.reasons import ENDINGS, REASONS
from psishare.exchange.register import State
from psishare.transport import wire_pb2 as wire
from psishare.transport.memory import MemoryChannel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

    from psishare.exchange.ask import Ask
    from psishare.exchange.authority import Authority, Outcome
    from psishare.transport.channel import Call, Caller, Responder

SECOND_AUTHORITY = "customs.example"

OURS = [b"+49151000%04d" % i for i in range(20)]
THEIRS = [b"+49151000%04d" % i for i in range(12, 40)]
COMMON = list(range(12, 20))

ORDER_S = 60.0
"""How long a call waits for those before it, which are under way."""

Change = Callable[[Any], Any]


class Line(MemoryChannel):
    """A line that changes what passes over it.

    Args:
        responder: the platform.
        caller: who TLS says is calling.
        requests: by call, what becomes of a request; the platform gets what it returns.
        responses: by call, what becomes of the answer.
    """

    def __init__(
        self,
        responder: Responder,
        caller: Caller,
        *,
        requests: dict[Call, Change] | None = None,
        responses: dict[Call, Change] | None = None,
    ) -> None:
        super().__init__(responder, caller, PLATFORM)
        self.requests = requests or {}
        self.responses = responses or {}
        self.passed: list[tuple[Call, bytes]] = []

    def exchange(self, call: Call, request: bytes) -> bytes:
        request = _changed(self.requests.get(call), call.request, request)
        self.passed.append((call, request))
        response = super().exchange(call, request)
        return _changed(self.responses.get(call), call.response, response)

    def again(self, call: Call, index: int = -1) -> bytes:
        """Send once more, as it was, one of the requests of a call that have passed."""
        request = [data for made, data in self.passed if made is call][index]
        return super().exchange(call, request)


class Dying(MemoryChannel):
    """A line that fails for good at the n-th call of a kind, before or after it is answered.

    Frames go out together, in threads; here those of the fatal kind before the n-th are over before it
    is looked at, and those after it find the line dead, whatever the threads do.
    """

    def __init__(
        self, responder: Responder, caller: Caller, call: Call, *, after: bool, nth: int = 1
    ) -> None:
        super().__init__(responder, caller, PLATFORM)
        self._fatal = call
        self._after = after
        self._nth = nth
        self._deciding = threading.Condition()
        self._arrived = 0
        self._over: set[int] = set()
        self.dead = False

    def exchange(self, call: Call, request: bytes) -> bytes:
        place = self._place(call, request)
        if self._is_the_last(place) and self._after:
            while _is_pending(call, super().exchange(call, request)):
                continue
        if self.dead and place not in self._let_in:
            raise silence()
        return self._counted(place, call, request)

    @property
    def _let_in(self) -> range:
        """The places of the fatal kind's calls that the line has let in before it died."""
        return range(1, self._nth)

    def _place(self, call: Call, request: bytes) -> int:
        """Return the number, from 1, of a call among those of the fatal kind; 0 for other calls."""
        if call is not self._fatal:
            return 0
        message = call.request.FromString(request)
        if isinstance(message, wire.EvaluateRequest | wire.ReturnRequest):
            return message.index + 1
        with self._deciding:
            if isinstance(message, wire.FetchRequest):
                late = message.sequence == wire.SEQUENCE_ANSWERS
                # The platform's elements have all been fetched when its late answers are.
                place = message.index + 1 + (self._arrived if late else 0)
                self._arrived = self._arrived if late else max(self._arrived, place)
                return place
            self._arrived += 1
            return self._arrived

    def _is_the_last(self, place: int) -> bool:
        """Let a call of the fatal kind come in its order; return whether the line dies of it."""
        if place < self._nth:
            return False
        with self._deciding:
            in_order = self._deciding.wait_for(
                lambda: self.dead or (place == self._nth and self._over.issuperset(self._let_in)),
                ORDER_S,
            )
            assert in_order, f"call {place} came, and those before it are not over: {self._over}"
            fatal, self.dead = not self.dead, True
            self._deciding.notify_all()
        return fatal

    def _counted(self, place: int, call: Call, request: bytes) -> bytes:
        pending = False
        try:
            response = super().exchange(call, request)
            pending = _is_pending(call, response)
        finally:
            if place and not pending:
                with self._deciding:
                    self._over.add(place)
                    self._deciding.notify_all()
        return response

    def call(self, call: Call, request: Message, *, timeout_s: float | None = None) -> Message:
        try:
            return super().call(call, request, timeout_s=timeout_s)
        except PsishareError:
            if self.dead:
                # Not the peer's words: there is no peer any more.
                raise silence() from None
            raise


class Failing:
    """A platform that fails inside at the n-th call of a kind, before or after its work."""

    def __init__(
        self,
        responder: Responder,
        call: Call,
        error: Exception,
        *,
        after: bool = False,
        nth: int = 1,
    ) -> None:
        self._responder = responder
        self._call = call
        self._error = error
        self._after = after
        self._left = nth
        self._counting = threading.Lock()

    def answer(self, call: Call, request: Message, caller: Caller) -> Message:
        fatal = False
        if call is self._call:
            with self._counting:
                self._left -= 1
                fatal = self._left == 0
        if fatal and not self._after:
            raise self._error
        response = self._responder.answer(call, request, caller)
        if fatal:
            raise self._error
        return response


def _is_pending(call: Call, response: bytes) -> bool:
    return bool(getattr(call.response.FromString(response), "pending", False))


def silence() -> TransportError:
    return TransportError(
        "the peer does not answer", mend="Try again.", reason="peer_silent", party=PLATFORM
    )


def _changed(change: Change | None, kind: type[Message], data: bytes) -> bytes:
    if change is None:
        return data
    message = kind.FromString(data)
    changed = change(message)
    if isinstance(changed, bytes):
        return changed
    return (message if changed is None else changed).SerializeToString(deterministic=True)


def run(authority: Authority, ask: Ask) -> Outcome | PsishareError:
    """Run an exchange and return its outcome or its error."""
    try:
        return authority.exchange(ask)
    except PsishareError as error:
        return error


def resumed(
    stage: Stage, platform: Responder, values: Iterable[bytes] = OURS
) -> list[Outcome | PsishareError]:
    """Let the authority go on with every exchange that it can go on with; return what came of each."""
    outcomes: list[Outcome | PsishareError] = []
    for row in stage.authority.register.rows():
        if row.state in {State.ABORTED, State.REFUSED}:
            continue
        authority = stage.asker(stage.channel(platform))
        try:
            outcomes.append(authority.resume(row.exchange_id, column(values)))
        except PsishareError as error:
            outcomes.append(error)
    return outcomes


def failed(authority: Authority, ask: Ask) -> PsishareError:
    """Run an exchange that must fail, and return its error: there is no result."""
    with pytest.raises(PsishareError) as raised:
        authority.exchange(ask)
    return raised.value


def entries(stage: Stage, party: str) -> list[Entry]:
    """Return a party's entries, from the disk."""
    log = stage.side(party).log
    return [parse_entry(data) for data in log.entries(0, log.size)]


def told(stage: Stage, party: str) -> list[tuple[str, str | None]]:
    """Return type and reason of each of a party's entries about exchanges and refusals."""
    return [
        (entry.type, getattr(entry, "reason", None))
        for entry in entries(stage, party)
        if entry.type.startswith("exchange.") or entry.type == "dataset.refused"
    ]


def verified(stage: Stage) -> dict[str, Verdict]:
    """Verify both logs with public cards alone, and that every reason in them is the table's."""
    trust = {name: home.card for name, home in stage.homes.items()}
    known = {(reason.code, entry) for reason in REASONS for entry in reason.entries}
    known |= {(code, "exchange.aborted") for code in ENDINGS}
    for party in (PLATFORM, AUTHORITY):
        for entry in entries(stage, party):
            reason = getattr(entry, "reason", None)
            assert reason is None or (reason, entry.type) in known, (reason, entry.type)
    return {
        party: verify_log(stage.homes[party].log_path, trust) for party in (PLATFORM, AUTHORITY)
    }


def endings(stage: Stage) -> tuple[list[str], list[str]]:
    """Verify both logs and return how their exchanges ended: the platform's, the authority's."""
    verdicts = verified(stage)
    platform, authority = (
        [exchange.ending.value for exchange in verdicts[party].exchanges]
        for party in (PLATFORM, AUTHORITY)
    )
    return platform, authority
