"""What a mandate no longer covers is not evaluated, and what failed at its last step ends once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from stage import AUTHORITY, ISSUER, PLATFORM, VALIDATOR, Stage

from psishare.audit.log import Log
from psishare.errors import AuditError, AuthorisationError
from psishare.evidence.verify import Ending, verify_log
from psishare.exchange import platform as platform_side
from psishare.exchange.document import now
from psishare.transport.channel import Call
from psishare.transport.memory import MemoryChannel

if TYPE_CHECKING:
    from psishare.exchange.platform import Platform

OURS = [b"a%d" % i for i in range(20)]


class ActsBefore(MemoryChannel):
    """A channel that does something before the first call of one kind."""

    def __init__(self, stage: Stage, platform: Platform, call: Call, action: Any) -> None:
        super().__init__(platform, stage.caller(), PLATFORM)
        self._call_to_meet, self._action = call, action

    def exchange(self, call: Call, request: bytes) -> bytes:
        if call is self._call_to_meet and self._action is not None:
            action, self._action = self._action, None
            action()
        return super().exchange(call, request)


def endings(stage: Stage, name: str) -> list[Ending]:
    trust = {each: home.card for each, home in stage.homes.items()}
    verdict = verify_log(stage.homes[name].log_path, trust)
    return [exchange.ending for exchange in verdict.exchanges]


def test_nothing_is_evaluated_after_the_mandate_has_expired(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = stage.responder(stage.encode(OURS))
    later = now() + timedelta(days=400)

    def time_passes() -> None:
        monkeypatch.setattr(platform_side, "now", lambda: later)

    channel = ActsBefore(stage, platform, Call.EVALUATE, time_passes)
    with pytest.raises(AuthorisationError) as refused:
        stage.asker(channel).exchange(stage.ask(OURS))
    assert refused.value.reason == "mandate_expired"
    for name in (PLATFORM, AUTHORITY):
        assert stage.entries(name)[-1] == "exchange.aborted"
        assert endings(stage, name) == [Ending.ABORTED]


@pytest.mark.parametrize("how", ["revoke", "remove"])
@pytest.mark.parametrize("party", [ISSUER, VALIDATOR])
def test_nothing_is_evaluated_once_who_signed_the_mandate_is_not_trusted(
    stage: Stage, party: str, how: str
) -> None:
    platform = stage.responder(stage.encode(OURS))
    untrust = getattr(stage.platform.peers, how)
    channel = ActsBefore(stage, platform, Call.EVALUATE, lambda: untrust(party))
    with pytest.raises(AuthorisationError) as refused:
        stage.asker(channel).exchange(stage.ask(OURS))
    role = "issuer" if party == ISSUER else "validator"
    assert refused.value.reason == f"mandate_{role}_untrusted"
    for name in (PLATFORM, AUTHORITY):
        assert stage.entries(name)[-1] == "exchange.aborted"
        assert endings(stage, name) == [Ending.ABORTED]


def test_a_close_that_failed_after_its_entry_was_decided_is_not_entered_twice(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = stage.responder(stage.encode(OURS))
    publish = Log._publish
    failed: list[Any] = []

    def disk_fails_once(log: Log, checkpoint: Any, pairs: Any) -> bytes:
        if log is stage.platform.log and not failed:
            failed.append(checkpoint)
            raise AuditError("full", mend="none", reason="log_write_failed")
        return publish(log, checkpoint, pairs)

    def disk_begins_to_fail() -> None:
        monkeypatch.setattr(Log, "_publish", disk_fails_once)

    channel = ActsBefore(stage, platform, Call.CLOSE, disk_begins_to_fail)
    with pytest.raises(AuditError):
        stage.asker(channel).exchange(stage.ask(OURS))
    assert failed
    platform.stop()
    assert stage.entries(PLATFORM).count("exchange.closed") == 1
    assert endings(stage, PLATFORM) == [Ending.CLOSED]
