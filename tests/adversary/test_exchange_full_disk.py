"""A disk that fills up under the log or the state, at every single write: exit code 8, no result.

As soon as there is room again, or at the next start, both logs tell how the exchange ended, once.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hostile_exchange import COMMON, OURS, THEIRS, endings, entries, resumed, run, told, verified
from stage import AUTHORITY, PLATFORM, Side, Stage

from psishare.errors import AuditError, ExitCode, PsishareError
from psishare.psi import suite
from psishare.psi.suite import Output
from psishare.transport.channel import Call, Caller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

    from psishare.exchange.ask import Ask
    from psishare.exchange.platform import Platform
    from psishare.exchange.register import Register

pytestmark = pytest.mark.usefixtures("impatient")

ECDH = suite.Protocol.ECDH
REAL_WRITE, REAL_RENAME = os.write, Path.rename


class Disk:
    """A disk that is full under one party's folder from the n-th write or rename there on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._folder = str(folder)
        self.left: int | None = None
        self.done = 0
        monkeypatch.setattr(os, "write", self._write)
        disk = self

        def rename(path: Path, to: Path) -> Path:
            disk._count(str(path))
            return REAL_RENAME(path, to)

        monkeypatch.setattr(Path, "rename", rename)

    def _count(self, path: str) -> None:
        if not path.startswith(self._folder):
            return
        self.done += 1
        if self.left is not None:
            if self.left == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.left -= 1

    def _write(self, descriptor: int, data: Any) -> int:
        try:
            path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        except OSError:
            path = ""
        self._count(path)
        return REAL_WRITE(descriptor, data)


def ask(stage: Stage) -> Ask:
    return stage.ask(OURS, protocol=ECDH, output=Output.BOTH)


def restarted(stage: Stage, party: str) -> Side:
    """Let a party's process end, and another one start."""
    side = stage.platform if party == PLATFORM else stage.authority
    side.register.close()
    fresh = stage.side(party)
    if party == PLATFORM:
        stage.platform = fresh
    else:
        stage.authority = fresh
    return fresh


def recovered(stage: Stage) -> Platform:
    """Restart both parties, let them go on with what can go on, and return the platform."""
    restarted(stage, PLATFORM)
    restarted(stage, AUTHORITY)
    platform = stage.responder(stage.listing(THEIRS))
    platform.recover()
    stage.asker(stage.channel(platform)).recover()
    for outcome in resumed(stage, platform):
        if isinstance(outcome, PsishareError):
            # The side whose disk was full had ended it.
            assert outcome.reason in {"exchange_ended", "exchange_unknown", "exchange_finished"}
        else:
            assert outcome.matched.to_pylist() == COMMON
    # What nobody goes on with, the time-out ends.
    platform._idle_timeout_s = -1
    platform.expire()
    platform._idle_timeout_s = 300
    return platform


def consistent(stage: Stage, platform: Platform) -> None:
    """Assert that a further exchange succeeds, and that then every exchange has one end in each log."""
    outcome = stage.exchange(platform, ask(stage))
    assert outcome.matched.to_pylist() == COMMON
    verdicts = verified(stage)
    theirs = {e.exchange_id: e.ending.value for e in verdicts[PLATFORM].exchanges}
    ours = {e.exchange_id: e.ending.value for e in verdicts[AUTHORITY].exchanges}
    assert "open" not in {*theirs.values(), *ours.values()}
    for exchange_id in theirs.keys() & ours.keys():
        assert (theirs[exchange_id] == "closed") == (ours[exchange_id] == "closed")
    # What only one side tells of was never answered.
    assert {theirs[i] for i in theirs.keys() - ours.keys()} <= {"aborted", "refused"}
    assert {ours[i] for i in ours.keys() - theirs.keys()} <= {"aborted"}
    assert stage.rooms().budget.open_exchanges() == ()
    charged = _charged(stage)
    for exchange in verdicts[PLATFORM].exchanges:
        if exchange.ending.value in {"closed", "aborted"}:
            assert exchange.rows == charged.get(exchange.exchange_id, 0)


def _charged(stage: Stage) -> dict[str, int]:
    with sqlite3.connect(stage.homes[PLATFORM].state_path) as database:
        rows = database.execute("SELECT exchange_id, rows_charged FROM budget_exchanges").fetchall()
    database.close()
    return {exchange_id.hex(): charged for exchange_id, charged in rows}


def writes(stage: Stage, monkeypatch: pytest.MonkeyPatch, folder: Path) -> int:
    """Return how many writes an honest exchange makes under a folder."""
    with monkeypatch.context() as patch:
        disk = Disk(patch, folder)
        stage.exchange(stage.responder(stage.listing(THEIRS)), ask(stage))
    return disk.done


N_LOG_WRITES = 30
"""How many writes and renames an exchange makes under a log at most; a test holds it."""
EVERY = range(N_LOG_WRITES)
TRIED = EVERY if os.environ.get("PSISHARE_CAMPAIGN") else EVERY[::3]


def test_an_exchange_makes_as_many_log_writes_as_are_tried_here(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for party in (PLATFORM, AUTHORITY):
        assert writes(stage, monkeypatch, stage.homes[party].log_path) <= N_LOG_WRITES


@pytest.mark.parametrize("party", [PLATFORM, AUTHORITY])
@pytest.mark.parametrize("after", TRIED)
def test_full_disk_under_the_log_gives_no_result_and_both_logs_say_so(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, party: str, after: int
) -> None:
    platform = stage.responder(stage.listing(THEIRS))
    with monkeypatch.context() as patch:
        disk = Disk(patch, stage.homes[party].log_path)
        disk.left = after
        outcome = run(stage.asker(stage.channel(platform)), ask(stage))
        platform.expire()
    if isinstance(outcome, PsishareError):
        assert isinstance(outcome, AuditError)
        assert outcome.exit_code is ExitCode.AUDIT
        assert outcome.reason == "log_write_failed"
        assert outcome.party == (PLATFORM if party == PLATFORM else None)
    else:
        # Only cosignatures were left to be written.
        assert [kind for kind, _ in told(stage, AUTHORITY)][-1] == "exchange.closed"
    consistent(stage, recovered(stage))


@pytest.mark.parametrize("after", TRIED[1::3])
def test_platform_records_the_end_as_soon_as_there_is_room_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    platform = stage.responder(stage.listing(THEIRS), idle_timeout_s=-1)
    with monkeypatch.context() as patch:
        disk = Disk(patch, stage.homes[PLATFORM].log_path)
        disk.left = after
        run(stage.asker(stage.channel(platform)), ask(stage))
        platform.expire()
    # Without a restart: the keeper comes round again.
    platform.expire()
    states = {row.state.value for row in stage.platform.register.rows()}
    assert states <= {"closed", "aborted", "refused"}
    # The authority settles what it has pending; what its own log lacks waits for its next start.
    restarted(stage, AUTHORITY)
    side = stage.authority
    stage.asker(stage.channel(platform), side).recover()
    platform._idle_timeout_s = 300
    consistent(stage, platform)


# The state beside the log: the register and the budget, in one database file.


class FullState:
    """Lets the n-th change of a party's register fail, and every one after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, register: Register, after: int) -> None:
        self._left = after
        self._register = register
        for name in ("begin", "update"):
            monkeypatch.setattr(register, name, self._failing(getattr(register, name)))

    def _failing(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **values: Any) -> Any:
            if self._left == 0:
                with self._register._state.reading():
                    raise sqlite3.OperationalError("database or disk is full")
            self._left -= 1
            return change(*args, **values)

        return changed


@pytest.mark.parametrize("party", [PLATFORM, AUTHORITY])
@pytest.mark.parametrize("after", range(6))
def test_full_disk_under_the_register_gives_no_result(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, party: str, after: int
) -> None:
    platform = stage.responder(stage.listing(THEIRS))
    side = stage.platform if party == PLATFORM else stage.authority
    with monkeypatch.context() as patch:
        FullState(patch, side.register, after)
        outcome = run(stage.asker(stage.channel(platform)), ask(stage))
        platform.expire()
    if isinstance(outcome, PsishareError):
        assert (type(outcome), outcome.reason) == (AuditError, "state_write_failed")
        assert outcome.exit_code is ExitCode.AUDIT
    consistent(stage, recovered(stage))


@pytest.mark.parametrize("method", ["reserve", "charge", "release", "last_frame"])
@pytest.mark.parametrize("nth", [1, 2])
def test_full_disk_under_the_budget_gives_no_result(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, method: str, nth: int
) -> None:
    platform = stage.responder(stage.listing(THEIRS))
    budget = platform._rooms.budget
    honest, calls = getattr(budget, method), [0]

    def full(*args: Any, **values: Any) -> Any:
        calls[0] += 1
        if calls[0] >= nth:
            budget._state._refuse()
        return honest(*args, **values)

    with monkeypatch.context() as patch:
        patch.setattr(budget, method, full)
        outcome = run(stage.asker(stage.channel(platform)), ask(stage))
    if isinstance(outcome, PsishareError):
        assert (type(outcome), outcome.reason) == (AuditError, "state_write_failed")
    else:
        assert calls[0] < nth
    consistent(stage, recovered(stage))


@pytest.mark.parametrize("what", ["opening", "elements", "peers"])
def test_full_disk_under_the_authoritys_folders_gives_no_result(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    home = stage.homes[AUTHORITY]
    platform = stage.responder(stage.listing(THEIRS))
    folder = home.peers_path if what == "peers" else home.exchanges_path
    with monkeypatch.context() as patch:
        disk = Disk(patch, folder)
        # The opening takes a write and a rename; the elements are written after that.
        disk.left = 2 if what == "elements" else 0
        error = run(stage.asker(stage.channel(platform)), ask(stage))
    assert isinstance(error, AuditError)
    assert error.reason == "state_write_failed"
    assert error.exit_code is ExitCode.AUDIT
    platform.stop()
    consistent(stage, recovered(stage))


def test_full_disk_under_the_platforms_folders_opens_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = stage.responder(stage.listing(THEIRS))
    for folder in (stage.homes[PLATFORM].exchanges_path, stage.homes[PLATFORM].peers_path):
        with monkeypatch.context() as patch:
            Disk(patch, folder).left = 0
            error = run(stage.asker(stage.channel(platform)), ask(stage))
        assert isinstance(error, AuditError)
        assert (error.reason, error.party) == ("state_write_failed", PLATFORM)
    assert "exchange.opened" not in [e.type for e in entries(stage, PLATFORM)]
    consistent(stage, recovered(stage))


def test_a_platform_whose_disk_is_full_ends_exchanges_and_does_not_forget_them(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    platform = stage.responder(stage.listing(THEIRS), idle_timeout_s=-1)

    class Full:
        """Fills the disk when the first frame has been answered."""

        def answer(self, call: Call, request: Message, caller: Caller) -> Message:
            response: Message = platform.answer(call, request, caller)
            if call is Call.EVALUATE:
                disk.left = 0
            return response

    with monkeypatch.context() as patch:
        disk = Disk(patch, stage.homes[PLATFORM].log_path)
        patch.setattr("psishare.exchange.signed_frames.IN_FLIGHT", 1)

        def silent(*_: object) -> None:
            raise KeyboardInterrupt

        authority = stage.asker(stage.channel(Full()))
        patch.setattr(authority, "_close", silent)
        with pytest.raises(KeyboardInterrupt):
            authority.exchange(ask(stage))
        platform.expire()
        assert "is not in the log yet" in caplog.text
    assert told(stage, PLATFORM) == [("exchange.opened", None)]
    platform.expire()
    assert told(stage, PLATFORM)[-1][0] == "exchange.aborted"
    assert endings(stage)[0] == ["aborted"]


@pytest.fixture(autouse=True)
def _no_space_is_left_full() -> Iterator[None]:
    yield
    assert os.write is REAL_WRITE
