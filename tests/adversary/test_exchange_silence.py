"""A peer that dies or falls silent at any step: no result before its receipt, both logs say what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hostile_exchange import (
    COMMON,
    OURS,
    THEIRS,
    Dying,
    Failing,
    Line,
    endings,
    entries,
    failed,
    silence,
    told,
    verified,
)
from stage import AUTHORITY, PLATFORM, Stage

from psishare.errors import (
    AuditError,
    ConfigError,
    ExitCode,
    InternalError,
    PeerError,
    PsishareError,
    TransportError,
)
from psishare.exchange.register import State
from psishare.exchange.restoration import Recovered
from psishare.mandates.envelope import read_envelope
from psishare.psi import suite
from psishare.psi.suite import Output
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from psishare.exchange.ask import Ask
    from psishare.exchange.offering import Offering
    from psishare.exchange.platform import Platform

pytestmark = pytest.mark.usefixtures("impatient")

BOTH = (suite.Protocol.ECDH, Output.BOTH)
COUNT = (suite.Protocol.ECDH, Output.COUNT)
OPRF = (suite.Protocol.OPRF, Output.MATCHES)

# Every call, as often as an exchange of 20 rows in frames of 7 makes it (and Hello before each step).
CALLS = [
    (OPRF, Call.HELLO, 1),
    (OPRF, Call.HELLO, 2),
    (OPRF, Call.MANIFEST, 1),
    (OPRF, Call.SHARD, 1),
    (OPRF, Call.HELLO, 3),
    (OPRF, Call.OFFER, 1),
    (OPRF, Call.EVALUATE, 1),
    (OPRF, Call.EVALUATE, 2),
    (OPRF, Call.EVALUATE, 3),
    (OPRF, Call.HELLO, 4),
    (OPRF, Call.CLOSE, 1),
    (BOTH, Call.OFFER, 1),
    (BOTH, Call.EVALUATE, 2),
    (BOTH, Call.FETCH, 1),
    (BOTH, Call.FETCH, 4),
    (BOTH, Call.RETURN, 1),
    (BOTH, Call.RETURN, 4),
    (BOTH, Call.CLOSE, 1),
    (COUNT, Call.EVALUATE, 3),
    (COUNT, Call.FETCH, 5),
    (COUNT, Call.CLOSE, 1),
]
BEFORE_OFFER = {Call.MANIFEST, Call.SHARD}
UNOFFERED = [(OPRF, Call.HELLO, 1), (OPRF, Call.HELLO, 2)]


def served(stage: Stage, protocol: suite.Protocol) -> Offering:
    return stage.encode(THEIRS) if protocol is suite.Protocol.OPRF else stage.listing(THEIRS)


def asked(stage: Stage, what: tuple[suite.Protocol, Output], mandate: bytes | None = None) -> Ask:
    protocol, output = what
    changes: dict[str, Any] = {"mandate": mandate} if mandate else {}
    return stage.ask(OURS, protocol=protocol, output=output, **changes)


def rows_charged(stage: Stage) -> int:
    """Return the rows that the platform's log says were asked, over all exchanges."""
    return sum(exchange.rows or 0 for exchange in verified(stage)[PLATFORM].exchanges)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("what", "call", "nth"), CALLS)
def test_peer_that_dies_leaves_no_result_and_logs_that_agree(
    stage: Stage, what: tuple[suite.Protocol, Output], call: Call, nth: int, *, after: bool
) -> None:
    platform = stage.responder(served(stage, what[0]), idle_timeout_s=-1)
    line = Dying(platform, stage.caller(), call, after=after, nth=nth)
    error = failed(stage.asker(line), asked(stage, what))
    assert line.dead
    assert (type(error), error.reason) == (TransportError, "peer_silent")
    assert (error.exit_code, error.party) == (ExitCode.PEER, PLATFORM)
    # The platform hears nothing more, and gives up; the authority leaves what is open.
    platform.expire()
    theirs, ours = told(stage, PLATFORM), told(stage, AUTHORITY)
    if call in BEFORE_OFFER or (what, call, nth) in UNOFFERED:
        assert theirs == ours == []
    elif call is Call.CLOSE and after:
        # Both have signed: closed there, and pending here until the platform is reached again.
        assert (theirs[-1], ours[-1]) == (("exchange.closed", None), ("exchange.opened", None))
    elif call is Call.CLOSE or (call is Call.HELLO and nth == 4):
        # The authority has signed, and cannot know whether the platform has.
        assert theirs[-1] == ("exchange.aborted", "peer_silent")
        assert ours[-1] == ("exchange.opened", None)
    else:
        reached = call is not Call.HELLO and (call is not Call.OFFER or after)
        opened = call not in {Call.HELLO, Call.OFFER}
        assert ours == ([("exchange.opened", None)] if opened else [])
        assert theirs[-1:] == ([("exchange.aborted", "peer_silent")] if reached else [])
        reconnected(stage, platform)
        ours = told(stage, AUTHORITY)
        assert ours[-1:] == ([("exchange.aborted", "exchange_ended")] if reached else [])
    verified(stage)
    assert stage.rooms().budget.open_exchanges() == ()


def reconnected(stage: Stage, platform: Platform) -> None:
    """Let the authority reach the platform again, and ask what became of what it has left open."""
    stage.asker(stage.channel(platform))._settle()


@pytest.mark.parametrize(("what", "call", "nth"), [c for c in CALLS if c[1] is Call.EVALUATE])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_what_was_charged_before_a_silence_stays_charged_and_is_logged(
    stage: Stage, what: tuple[suite.Protocol, Output], call: Call, nth: int, *, after: bool
) -> None:
    platform = stage.responder(served(stage, what[0]), idle_timeout_s=-1)
    mandate = stage.envelope()
    failed(
        stage.asker(Dying(platform, stage.caller(), call, after=after, nth=nth)),
        asked(stage, what, mandate),
    )
    platform.expire()
    reconnected(stage, platform)
    (aborted,) = [e for e in entries(stage, PLATFORM) if e.type == "exchange.aborted"]
    (ours,) = [e for e in entries(stage, AUTHORITY) if e.type == "exchange.aborted"]
    # Frames go out together, so the platform has at least those before the fatal one.
    assert aborted.fields["frames"] >= nth - 1 + after
    assert ours.fields["frames"] >= aborted.fields["frames"]
    assert rows_charged(stage) == aborted.fields["rows"] == _used(stage, mandate)


def _used(stage: Stage, mandate: bytes) -> int:
    return stage.rooms().budget.usage(read_envelope(mandate).mandate.id).rows


@pytest.mark.parametrize("what", [OPRF, BOTH, COUNT], ids=["oprf", "both", "count"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_silence_after_the_closing_holds_no_result_back(
    stage: Stage, what: tuple[suite.Protocol, Output], *, after: bool
) -> None:
    platform = stage.responder(served(stage, what[0]))
    line = Dying(platform, stage.caller(), Call.COSIGN, after=after)
    outcome = stage.asker(line).exchange(asked(stage, what))
    assert len(outcome.matched) == len(COMMON)
    assert not outcome.cosigned
    assert endings(stage) == (["closed"], ["closed"])


@pytest.mark.parametrize("what", [OPRF, BOTH, COUNT], ids=["oprf", "both", "count"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_receipt_that_was_not_returned_is_settled_at_the_next_connection(
    stage: Stage, what: tuple[suite.Protocol, Output], *, after: bool
) -> None:
    platform = stage.responder(served(stage, what[0]))
    failed(
        stage.asker(Dying(platform, stage.caller(), Call.CLOSE, after=after)), asked(stage, what)
    )
    (pending,) = stage.authority.register.pending(PLATFORM)
    assert endings(stage) == (["closed" if after else "open"], ["open"])
    outcome = stage.exchange(platform, asked(stage, what))
    assert outcome.matched.to_pylist()[: len(COMMON)] is not None
    # The platform had kept the exchange open: its receipt is as good as it was.
    assert endings(stage) == (["closed", "closed"], ["closed", "closed"])
    assert stage.authority.register.pending(PLATFORM) == []
    row = stage.authority.register.get(pending.exchange_id)
    assert row is not None
    assert row.state is State.CLOSED
    assert row.signed_receipt is not None


def test_a_receipt_that_the_platform_gave_up_on_is_aborted_at_the_next_connection(
    stage: Stage,
) -> None:
    platform = stage.responder(stage.listing(THEIRS), idle_timeout_s=-1)
    failed(
        stage.asker(Dying(platform, stage.caller(), Call.CLOSE, after=False)), asked(stage, BOTH)
    )
    platform.expire()
    stage.exchange(platform, asked(stage, BOTH))
    assert endings(stage) == (["aborted", "closed"], ["aborted", "closed"])
    (ours,) = [e for e in entries(stage, AUTHORITY) if e.type == "exchange.aborted"]
    (theirs,) = [e for e in entries(stage, PLATFORM) if e.type == "exchange.aborted"]
    assert (ours.fields["reason"], theirs.fields["reason"]) == ("exchange_ended", "peer_silent")
    same = ("frames", "rows", "requests_transcript", "last_signature", "mandate_id")
    assert {f: ours.fields[f] for f in same} == {f: theirs.fields[f] for f in same}


def test_an_exchange_in_which_a_call_is_being_worked_on_does_not_expire(stage: Stage) -> None:
    platform = stage.responder(stage.listing(THEIRS), idle_timeout_s=0.0)

    class Watched:
        def answer(self, call: Call, request: Any, caller: Any) -> Any:
            if call is Call.EVALUATE:
                exchange = platform._exchanges.all()[0]
                with exchange.working():
                    platform.expire()
                    return platform.answer(call, request, caller)
            return platform.answer(call, request, caller)

    stage.exchange(Watched(), asked(stage, COUNT))
    assert endings(stage) == (["closed"], ["closed"])


# The platform fails inside.

FAULTS: list[Exception] = [
    ConfigError("a fault", mend="Mend it."),
    AuditError("/home/x is full", mend="Mend it.", reason="log_write_failed"),
    RuntimeError("a foreign fault"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("call", "nth"),
    [(Call.OFFER, 1), (Call.EVALUATE, 2), (Call.FETCH, 2), (Call.RETURN, 1), (Call.CLOSE, 1)],
)
def test_platform_that_fails_inside_tells_nothing_and_gives_no_result(
    stage: Stage, call: Call, nth: int, fault: Exception, *, after: bool
) -> None:
    platform = stage.responder(stage.listing(THEIRS), idle_timeout_s=-1)
    failing = Failing(platform, call, fault, after=after, nth=nth)
    error = failed(stage.asker(stage.channel(failing)), asked(stage, BOTH))
    if isinstance(fault, AuditError):
        assert (type(error), error.reason) == (AuditError, "log_write_failed")
        assert "/home/x" not in error.message
    else:
        assert (type(error), error.reason) == (PeerError, "peer_failed")
    assert error.party == PLATFORM
    platform.expire()
    theirs, ours = endings(stage)
    if call is Call.CLOSE:
        # Whether the platform has closed cannot be known here.
        assert (theirs, ours) == (["closed" if after else "aborted"], ["open"])
    else:
        assert ours == ["aborted"]
        assert theirs in (["aborted"], [])
        (entry,) = [e for e in entries(stage, AUTHORITY) if e.type == "exchange.aborted"]
        assert entry.fields["at_fault"] == PLATFORM


def test_platform_that_fails_in_a_step_ends_the_exchange(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    platform = stage.responder(stage.listing(THEIRS))
    monkeypatch.setattr("psishare.exchange.opened.encode_frame", fail)
    error = failed(stage.asker(stage.channel(platform)), asked(stage, COUNT))
    assert error.reason == "peer_failed"
    (entry,) = [e for e in entries(stage, PLATFORM) if e.type == "exchange.aborted"]
    assert (entry.fields["reason"], entry.fields["at_fault"]) == ("internal", PLATFORM)
    verified(stage)


def test_platform_that_fails_while_it_computes_its_own_elements_ends_the_exchange(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_platform: object) -> None:
        raise RuntimeError("no memory for these values")

    monkeypatch.setattr("psishare.psi.ecdh.EcdhPlatform.elements", property(fail))
    error = failed(
        stage.asker(stage.channel(stage.responder(stage.listing(THEIRS)))), asked(stage, BOTH)
    )
    assert error.reason == "peer_failed"
    assert told(stage, PLATFORM)[-1] == ("exchange.aborted", "internal")
    assert endings(stage) == (["aborted"], ["aborted"])


def test_platform_that_cannot_start_a_computation_has_not_opened(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise InternalError("no key", mend="Again.", reason="key_unusable")

    platform = stage.responder(stage.listing(THEIRS))
    monkeypatch.setattr("psishare.exchange.offering.EcdhPlatform", fail)
    mandate = stage.envelope(max_exchanges=1)
    failed(stage.asker(stage.channel(platform)), asked(stage, BOTH, mandate))
    assert told(stage, PLATFORM) == [("exchange.aborted", "key_unusable")]
    monkeypatch.undo()
    # Nothing was answered: the mandate's one exchange is still to be had.
    stage.exchange(platform, asked(stage, BOTH, mandate))
    assert endings(stage) == (["aborted", "closed"], ["aborted", "closed"])


def test_authority_that_cannot_compute_offers_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object) -> None:
        raise ConfigError("absent", mend="Install it.", reason="openmined_missing")

    monkeypatch.setattr("psishare.psi.openmined._package", absent)
    error = failed(
        stage.asker(stage.channel(stage.responder(stage.listing(THEIRS)))),
        stage.ask(OURS, protocol=suite.Protocol.OPENMINED),
    )
    assert error.reason == "openmined_missing"
    assert told(stage, PLATFORM) == told(stage, AUTHORITY) == []


# Ends that somebody wants.


def test_stopped_platform_leaves_what_is_open_to_its_next_start(stage: Stage) -> None:
    platform = stage.responder(stage.listing(THEIRS))
    line = Dying(platform, stage.caller(), Call.FETCH, after=False)
    failed(stage.asker(line), asked(stage, BOTH))
    assert platform.stop() == 1
    assert endings(stage) == (["open"], ["open"])
    assert stage.responder(stage.listing(THEIRS)).recover() == Recovered(aborted=0, restored=1)
    assert endings(stage) == (["open"], ["open"])


@pytest.mark.parametrize("call", [Call.OFFER, Call.EVALUATE, Call.FETCH, Call.CLOSE])
def test_interrupted_authority_tells_the_platform(stage: Stage, call: Call) -> None:
    platform = stage.responder(stage.listing(THEIRS))

    def interrupt(_response: object) -> None:
        raise KeyboardInterrupt

    line = Line(platform, stage.caller(), responses={call: interrupt})
    with pytest.raises(KeyboardInterrupt):
        stage.asker(line).exchange(asked(stage, BOTH))
    if call is Call.CLOSE:
        assert endings(stage) == (["closed"], ["open"])
        return
    assert told(stage, AUTHORITY)[-1] == ("exchange.aborted", "interrupted")
    assert told(stage, PLATFORM)[-1] == ("exchange.aborted", "peer_aborted")
    (entry,) = [e for e in entries(stage, PLATFORM) if e.type == "exchange.aborted"]
    assert entry.fields["at_fault"] == AUTHORITY
    verified(stage)


def test_no_error_of_ours_is_lost_when_the_notice_of_an_abort_fails(stage: Stage) -> None:
    platform = stage.responder(stage.listing(THEIRS), idle_timeout_s=-1)

    def deaf(_request: object) -> None:
        raise silence()

    def spoil(response: Any) -> None:
        response.batch = response.batch[:-1]

    line = Line(
        platform, stage.caller(), requests={Call.ABORT: deaf}, responses={Call.FETCH: spoil}
    )
    error = failed(stage.asker(line), asked(stage, BOTH))
    assert isinstance(error, PsishareError)
    assert error.reason == "frame_malformed"
    platform.expire()
    assert endings(stage) == (["aborted"], ["aborted"])
