"""Tools for exchanges in which a peer, the line or a disk does what it should not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from stage import AUTHORITY, PLATFORM, Stage, column

from psishare.audit.entry import Entry, parse_entry
from psishare.errors import PsishareError, TransportError
from psishare.evidence.verify import Verdict, verify_log
from psishare.exchange.reasons import ENDINGS, REASONS
from psishare.exchange.register import State
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
    """A line that fails for good at the n-th call of a kind, before or after it is answered."""

    def __init__(
        self, responder: Responder, caller: Caller, call: Call, *, after: bool, nth: int = 1
    ) -> None:
        super().__init__(responder, caller, PLATFORM)
        self._fatal = call
        self._after = after
        self._left = nth
        self.dead = False

    def exchange(self, call: Call, request: bytes) -> bytes:
        if call is self._fatal and not self.dead:
            self._left -= 1
            self.dead = self._left == 0
            if self.dead and self._after:
                super().exchange(call, request)
        if self.dead:
            raise silence()
        return super().exchange(call, request)

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

    def answer(self, call: Call, request: Message, caller: Caller) -> Message:
        fatal = False
        if call is self._call:
            self._left -= 1
            fatal = self._left == 0
        if fatal and not self._after:
            raise self._error
        response = self._responder.answer(call, request, caller)
        if fatal:
            raise self._error
        return response


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
