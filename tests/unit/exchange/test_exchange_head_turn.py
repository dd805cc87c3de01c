"""Exchanges of one home that run at once show their log's head in turn, and none is lost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from stage import AUTHORITY, PLATFORM, Stage

from psishare.errors import AuditError, TransportError
from psishare.exchange import current_heads
from psishare.exchange.head_turn import HeadTurn
from psishare.transport.channel import Call
from psishare.transport.memory import MemoryChannel

if TYPE_CHECKING:
    from pathlib import Path

OURS = [b"a%d" % i for i in range(20)]
N_EXCHANGES = 24


def test_one_at_a_time_has_the_turn_among_threads(tmp_path: Path) -> None:
    inside, most = 0, 0

    def enter(_number: int) -> None:
        nonlocal inside, most
        with HeadTurn(tmp_path, "tele.example").taken():
            inside += 1
            most = max(most, inside)
            threading.Event().wait(0.001)
            inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(40)))
    assert most == 1


def test_turns_towards_two_peers_are_two(tmp_path: Path) -> None:
    with (
        HeadTurn(tmp_path, "tele.example").taken(),
        HeadTurn(tmp_path, "bank.example").taken(wait_s=60),
    ):
        assert len(list(tmp_path.iterdir())) == 2


def test_who_has_waited_too_long_goes_ahead(tmp_path: Path) -> None:
    turn = HeadTurn(tmp_path, "tele.example")
    with turn.taken(), turn.taken(wait_s=0.05):
        pass


def test_folder_that_is_not_there_is_an_error_of_the_state(tmp_path: Path) -> None:
    with pytest.raises(AuditError) as caught, HeadTurn(tmp_path / "run", "x").taken():
        pass
    assert caught.value.reason == "state_write_failed"


def test_no_exchange_is_lost_for_heads_that_others_moved_on(stage: Stage) -> None:
    platform = stage.responder(stage.encode(OURS))
    ask = stage.ask(OURS[:3])

    def run(_number: int) -> int:
        return len(stage.exchange(platform, ask).matched)

    with ThreadPoolExecutor(N_EXCHANGES) as pool:
        assert list(pool.map(run, range(N_EXCHANGES))) == [3] * N_EXCHANGES
    for party in (PLATFORM, AUTHORITY):
        assert stage.entries(party).count("exchange.closed") == N_EXCHANGES


class Busy(MemoryChannel):
    """A channel to a platform that has too much to do at first."""

    def __init__(self, *arguments: Any, times: int) -> None:
        super().__init__(*arguments)
        self.times = times

    def exchange(self, call: Call, request: bytes) -> bytes:
        if call is Call.OFFER and self.times:
            self.times -= 1
            raise TransportError("it has 1 exchange open", mend="Later.", reason="peer_busy")
        return super().exchange(call, request)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_heads, "BUSY_PAUSE_S", 0.001)


@pytest.mark.usefixtures("hurried")
def test_busy_platform_is_offered_again_with_new_heads(stage: Stage) -> None:
    platform = stage.responder(stage.encode(OURS))
    channel = Busy(platform, stage.caller(), PLATFORM, times=3)
    assert len(stage.asker(channel).exchange(stage.ask(OURS)).matched) == 20
    assert stage.entries(PLATFORM).count("exchange.opened") == 1


@pytest.mark.usefixtures("hurried")
def test_platform_that_stays_busy_is_named(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_heads, "BUSY_FOR_S", 0.1)
    platform = stage.responder(stage.encode(OURS))
    channel = Busy(platform, stage.caller(), PLATFORM, times=1_000_000)
    with pytest.raises(TransportError) as caught:
        stage.asker(channel).exchange(stage.ask(OURS))
    assert (caught.value.reason, caught.value.party) == ("peer_busy", PLATFORM)
    assert "exchange.opened" not in stage.entries(PLATFORM)
