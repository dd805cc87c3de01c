"""A platform that is asked for too much, is about to stop, or gets other rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from stage import PLATFORM, Stage

from psishare.errors import AuthorisationError, TransportError
from psishare.exchange import current_heads
from psishare.exchange.register import State
from psishare.mandates.policy import Policy
from psishare.transport.channel import Call
from psishare.transport.memory import MemoryChannel

if TYPE_CHECKING:
    from collections.abc import Callable

    from psishare.exchange.platform import Platform

OURS = [b"a%d" % i for i in range(20)]
THEIRS = [b"b%d" % i for i in range(20)]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_heads, "BUSY_FOR_S", 0.05)


class Meanwhile(MemoryChannel):
    """A channel during whose first frame something else happens."""

    def __init__(self, stage: Stage, platform: Platform, action: Callable[[], Any]) -> None:
        super().__init__(platform, stage.caller(), PLATFORM)
        self._action: Callable[[], Any] | None = action

    def exchange(self, call: Call, request: bytes) -> bytes:
        if call is Call.EVALUATE and self._action is not None:
            action, self._action = self._action, None
            action()
        return super().exchange(call, request)


def run_meanwhile(stage: Stage, platform: Platform, action: Callable[[], Any]) -> int:
    """Run an exchange, do something while it is open, and return how many rows matched."""
    outcome = stage.asker(Meanwhile(stage, platform, action)).exchange(stage.ask(OURS[:5]))
    return len(outcome.matched)


def refused_offer(stage: Stage, platform: Platform) -> str:
    with pytest.raises((TransportError, AuthorisationError)) as caught:
        stage.exchange(platform, stage.ask(OURS))
    return caught.value.reason


def test_exchange_beyond_the_authority_s_number_is_asked_to_come_again(stage: Stage) -> None:
    platform = stage.responder(stage.encode(OURS), exchanges_per_authority=1)
    reasons = []
    assert run_meanwhile(stage, platform, lambda: reasons.append(refused_offer(stage, platform)))
    assert reasons == ["peer_busy"]
    assert platform.open_by_authority == {}
    assert len(stage.exchange(platform, stage.ask(OURS)).matched) == 20
    assert stage.entries(PLATFORM).count("exchange.opened") == 2
    assert "exchange.refused" not in stage.entries(PLATFORM)


def test_platform_that_is_about_to_stop_finishes_what_is_open_and_opens_nothing(
    stage: Stage,
) -> None:
    platform = stage.responder(stage.encode(OURS))
    assert run_meanwhile(stage, platform, platform.drain) == 5
    assert refused_offer(stage, platform) == "peer_stopping"
    assert stage.entries(PLATFORM).count("exchange.opened") == 1
    assert "exchange.closed" in stage.entries(PLATFORM)
    # The offer that was not taken can be made again.
    assert [row.state for row in stage.authority.register.unattended()] == [State.OFFERED]


def test_new_policy_counts_from_the_next_offer(stage: Stage) -> None:
    offering = stage.encode(OURS)
    platform = stage.responder(offering)

    def narrow() -> None:
        platform.reload(stage.homes[PLATFORM], Policy(max_rows_per_exchange=1), [offering])

    assert run_meanwhile(stage, platform, narrow) == 5
    assert refused_offer(stage, platform) == "policy_max_rows"


def test_new_offerings_count_from_the_next_offer(stage: Stage) -> None:
    first = stage.encode(OURS)
    platform = stage.responder(first)
    other = stage.encode(THEIRS, name="others")

    def widen() -> None:
        platform.reload(stage.homes[PLATFORM], Policy(), [other])

    assert run_meanwhile(stage, platform, widen) == 5
    assert refused_offer(stage, platform) == "dataset_unknown"
    found = stage.exchange(platform, stage.ask(THEIRS, dataset="others"))
    assert len(found.matched) == 20
