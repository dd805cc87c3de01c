"""Processes that are killed at any step of an exchange leave logs that verify, and the next start tells.

Both sides run in one process here and die together, at the step that is named; one side alone is
killed by tests/adversary/test_exchange_silence.py in effect, and by the command line's tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from exchange_to_die_in import KILLED
from hostile_exchange import COMMON, OURS, THEIRS, endings, entries, verified
from stage import AUTHORITY, PLATFORM, OpenedStage, Stage

from psishare.exchange.authority import Authority, AuthorityRooms
from psishare.psi.suite import Output, Protocol

if TYPE_CHECKING:
    from psishare.exchange.platform import Platform

PROGRAM = Path(__file__).parents[1] / "exchange_to_die_in.py"
AT_PLATFORM, AT_AUTHORITY = (
    "psishare.exchange.platform:Platform",
    "psishare.exchange.authority:Authority",
)
JOURNAL, REGISTER = "psishare.exchange.journal:Journal", "psishare.exchange.register:Register"
BUDGET = "psishare.mandates.budget:Budget"

# Both parties use one class for log and register, so the N-th time tells whose it is:
# the platform opens and closes first, the authority second.
STEPS: dict[str, tuple[list[str], list[str]]] = {
    f"{AT_AUTHORITY}._keep_opening:after": ([], []),
    f"{REGISTER}.begin:after:1": ([], ["aborted"]),
    f"{AT_PLATFORM}._enter:after": (["aborted"], ["aborted"]),
    f"{BUDGET}.reserve:after": (["aborted"], ["aborted"]),
    f"{JOURNAL}.opened:before:1": (["aborted"], ["aborted"]),
    f"{JOURNAL}.opened:after:1": (["aborted"], ["aborted"]),
    f"{JOURNAL}.opened:before:2": (["aborted"], ["aborted"]),
    f"{JOURNAL}.opened:after:2": (["aborted"], ["aborted"]),
    f"{BUDGET}.charge:before:2": (["aborted"], ["aborted"]),
    f"{BUDGET}.charge:after:2": (["aborted"], ["aborted"]),
    f"{AT_AUTHORITY}._close:before": (["aborted"], ["aborted"]),
    f"{AT_AUTHORITY}._finish_close:before": (["aborted"], ["open"]),
    f"{AT_PLATFORM}._countersign:after": (["aborted"], ["open"]),
    f"{AT_PLATFORM}._keep_receipt:after": (["closed"], ["open"]),
    f"{JOURNAL}.closed:before:1": (["closed"], ["open"]),
    f"{JOURNAL}.closed:after:1": (["closed"], ["open"]),
    f"{AT_AUTHORITY}._request_close:after": (["closed"], ["open"]),
    f"{JOURNAL}.closed:before:2": (["closed"], ["open"]),
    f"{JOURNAL}.closed:after:2": (["closed"], ["closed"]),
    f"{AT_AUTHORITY}._cosign_quietly:before": (["closed"], ["closed"]),
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


def start(folder: Path) -> tuple[Stage, Platform]:
    """Start both parties again and let each record what it finds."""
    stage = OpenedStage(folder)
    platform = stage.responder(stage.listing(THEIRS))
    platform.recover()
    side = stage.authority
    rooms = AuthorityRooms(side.home, side.peers, side.log, side.register)
    Authority(rooms, stage.channel(platform), side.peers.get(PLATFORM), lambda *_: None).recover()
    return stage, platform


CHOSEN = (
    list(STEPS) if os.environ.get("PSISHARE_CAMPAIGN") else list(STEPS)[1::3] + list(STEPS)[2::3]
)


@pytest.mark.parametrize("step", CHOSEN)
def test_next_start_records_what_a_killed_process_left(dead: Path, step: str) -> None:
    killed(dead, step, Protocol.ECDH)
    # Before anyone starts: what is there verifies.
    verified(_looking(dead))
    stage, platform = start(dead)
    try:
        assert endings(stage) == STEPS[step]
        for party in (PLATFORM, AUTHORITY):
            for entry in entries(stage, party):
                if entry.type == "exchange.aborted":
                    assert entry.fields["reason"] == "interrupted"
                    assert entry.fields["at_fault"] == party
        assert stage.rooms().budget.open_exchanges() == ()
        # A second start finds nothing more to say.
        assert platform.recover() == 0
        outcome = stage.exchange(
            platform, stage.ask(OURS, protocol=Protocol.ECDH, output=Output.BOTH)
        )
        assert outcome.matched.to_pylist() == COMMON
        theirs, ours = endings(stage)
        assert "open" not in {*theirs, *ours}
        if len(theirs) == len(ours):
            assert [e == "closed" for e in theirs] == [e == "closed" for e in ours]
    finally:
        stage.close()


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
    stage, _platform = start(dead)
    try:
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
