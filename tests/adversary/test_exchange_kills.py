"""Processes that are killed at any step of an exchange leave logs that verify, and can go on.

Both sides run in one process here and die together, at the step that is named; one side alone is
killed by tests/adversary/test_exchange_silence.py in effect, and by the command line's tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from exchange_to_die_in import KILLED
from hostile_exchange import COMMON, OURS, THEIRS, endings, entries, resumed, verified
from stage import AUTHORITY, PLATFORM, OpenedStage, Stage

from psishare.errors import ProtocolError, PsishareError
from psishare.exchange.restoration import Recovered
from psishare.psi.suite import Output, Protocol

if TYPE_CHECKING:
    from psishare.exchange.platform import Platform

PROGRAM = Path(__file__).parents[1] / "exchange_to_die_in.py"
AT_PLATFORM, AT_AUTHORITY = (
    "psishare.exchange.platform:Platform",
    "psishare.exchange.authority:Authority",
)
JOURNAL, REGISTER = "psishare.exchange.journal:Journal", "psishare.exchange.register:Register"
OPEN_EXCHANGES = "psishare.exchange.open_exchanges:OpenExchanges"
BUDGET = "psishare.mandates.budget:Budget"

OPEN, CLOSED, ABORTED, NONE = ["open"], ["closed"], ["aborted"], list[str]()

# Both parties use one class for log and register, so the N-th time tells whose it is:
# the platform opens and closes first, the authority second.
# What both logs tell after the next start, and after the authority has gone on, or tried to.
STEPS: dict[str, tuple[tuple[list[str], list[str]], tuple[list[str], list[str]]]] = {
    f"{AT_AUTHORITY}._keep_opening:after": ((NONE, NONE), (NONE, NONE)),
    f"{REGISTER}.begin:after:1": ((NONE, NONE), (CLOSED, CLOSED)),
    f"{AT_PLATFORM}._enter:after": ((ABORTED, NONE), (ABORTED, ABORTED)),
    f"{BUDGET}.reserve:after": ((ABORTED, NONE), (ABORTED, ABORTED)),
    f"{JOURNAL}.opened:before:1": ((ABORTED, NONE), (ABORTED, ABORTED)),
    f"{JOURNAL}.opened:after:1": ((OPEN, NONE), (CLOSED, CLOSED)),
    f"{JOURNAL}.opened:before:2": ((OPEN, NONE), (CLOSED, CLOSED)),
    f"{JOURNAL}.opened:after:2": ((OPEN, OPEN), (CLOSED, CLOSED)),
    f"{BUDGET}.charge:before:2": ((OPEN, OPEN), (CLOSED, CLOSED)),
    f"{BUDGET}.charge:after:2": ((OPEN, OPEN), (CLOSED, CLOSED)),
    f"{AT_AUTHORITY}._close:before": ((OPEN, OPEN), (CLOSED, CLOSED)),
    f"{AT_AUTHORITY}._finish_close:before": ((OPEN, OPEN), (CLOSED, CLOSED)),
    f"{AT_PLATFORM}._countersign:after": ((OPEN, OPEN), (CLOSED, CLOSED)),
    f"{OPEN_EXCHANGES}.keep_receipt:after": ((CLOSED, OPEN), (CLOSED, CLOSED)),
    f"{JOURNAL}.closed:before:1": ((CLOSED, OPEN), (CLOSED, CLOSED)),
    f"{JOURNAL}.closed:after:1": ((CLOSED, OPEN), (CLOSED, CLOSED)),
    f"{AT_AUTHORITY}._request_close:after": ((CLOSED, OPEN), (CLOSED, CLOSED)),
    f"{JOURNAL}.closed:before:2": ((CLOSED, OPEN), (CLOSED, CLOSED)),
    f"{JOURNAL}.closed:after:2": ((CLOSED, CLOSED), (CLOSED, CLOSED)),
    f"{AT_AUTHORITY}._cosign_quietly:before": ((CLOSED, CLOSED), (CLOSED, CLOSED)),
}


@pytest.fixture
def dead(stage: Stage, tmp_path: Path) -> Path:
    """Return the folder of a stage that nobody has open, with a mandate."""
    (tmp_path / "stage" / "mandate").write_bytes(stage.envelope())
    stage.encode(THEIRS)
    stage.close()
    return tmp_path / "stage"


def killed(folder: Path, step: str, protocol: Protocol) -> None:
    """Run an exchange in a process of its own that dies at a step."""
    process = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), step, protocol.value],
        env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[1])},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == KILLED, process.stderr.decode()


def start(folder: Path, **options: Any) -> tuple[Stage, Platform]:
    """Start both parties again and let each look at what it finds."""
    stage = OpenedStage(folder)
    platform = stage.responder(stage.listing(THEIRS), **options)
    platform.recover()
    stage.asker(stage.channel(platform)).recover()
    return stage, platform


CHOSEN = (
    list(STEPS) if os.environ.get("PSISHARE_CAMPAIGN") else list(STEPS)[1::3] + list(STEPS)[2::3]
)


@pytest.mark.parametrize("step", CHOSEN)
def test_next_start_goes_on_with_what_a_killed_process_left_or_ends_it(
    dead: Path, step: str
) -> None:
    killed(dead, step, Protocol.ECDH)
    # Before anyone starts: what is there verifies.
    verified(_looking(dead))
    twin = dead.with_name("twin")
    shutil.copytree(dead, twin)
    left, then = STEPS[step]
    stage, platform = start(dead)
    try:
        assert endings(stage) == left
        goes_on(stage, platform)
        assert endings(stage) == then
        # A second start finds nothing more to say.
        assert platform.recover() == Recovered(aborted=0, restored=0)
        finished(stage, platform)
    finally:
        stage.close()
    stage, platform = start(twin, idle_timeout_s=-1)
    try:
        given_up(stage, platform)
    finally:
        stage.close()


def goes_on(stage: Stage, platform: Platform) -> None:
    """Let the authority go on with what it finds, to the end."""
    for outcome in resumed(stage, platform):
        if isinstance(outcome, PsishareError):
            assert (type(outcome), outcome.reason) == (ProtocolError, "exchange_ended")
        else:
            assert outcome.matched.to_pylist() == COMMON
            assert outcome.elements == len(THEIRS)
            assert outcome.receipt.receipt.requests.rows == len(OURS)


def given_up(stage: Stage, platform: Platform) -> None:
    """Let nobody go on: the platform's time-out ends it, and the authority hears of it."""
    platform.expire()
    for entry in entries(stage, PLATFORM):
        if entry.type == "exchange.aborted":
            assert (entry.fields["reason"], entry.fields["at_fault"]) == ("interrupted", PLATFORM)
    finished(stage, platform)


def finished(stage: Stage, platform: Platform) -> None:
    """Assert that another exchange succeeds, and that then all have one end, the same in both logs."""
    platform._idle_timeout_s = 300
    outcome = stage.exchange(platform, stage.ask(OURS, protocol=Protocol.ECDH, output=Output.BOTH))
    assert outcome.matched.to_pylist() == COMMON
    theirs, ours = endings(stage)
    assert "open" not in {*theirs, *ours}
    if len(theirs) == len(ours):
        assert [e == "closed" for e in theirs] == [e == "closed" for e in ours]
    assert stage.rooms().budget.open_exchanges() == ()


def _looking(folder: Path) -> Stage:
    """Return a stage that is only looked at."""
    stage = OpenedStage(folder)
    stage.close()
    return stage


@pytest.mark.parametrize("protocol", [Protocol.OPRF, Protocol.ECDH, Protocol.OPENMINED])
def test_a_killed_authority_finds_out_again_what_it_had_asked(
    dead: Path, protocol: Protocol
) -> None:
    if protocol is Protocol.OPENMINED:
        pytest.importorskip("private_set_intersection")
    killed(dead, f"{BUDGET}.charge:after:2", protocol)
    stage, platform = start(dead, idle_timeout_s=-1)
    try:
        platform.expire()
        stage.asker(stage.channel(platform))._settle()
        (theirs,) = [e for e in entries(stage, PLATFORM) if e.type == "exchange.aborted"]
        (ours,) = [e for e in entries(stage, AUTHORITY) if e.type == "exchange.aborted"]
        assert (theirs.fields["frames"], theirs.fields["rows"]) == (2, 14)
        # It signs ahead of what the platform has taken, and never behind.
        assert ours.fields["frames"] in (2, 3)
        if ours.fields["frames"] == 2:
            assert ours.fields["requests_transcript"] == theirs.fields["requests_transcript"]
            assert ours.fields["last_signature"] == theirs.fields["last_signature"]
        # The signature that it finds again verifies over the rows that it tells.
        verified(stage)
    finally:
        stage.close()
