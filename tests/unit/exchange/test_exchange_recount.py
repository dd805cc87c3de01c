"""A state that was lost, or restored from an old copy, gives no budget back."""

from __future__ import annotations

import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hostile_exchange import OURS, THEIRS, Dying, failed
from stage import PLATFORM, OpenedStage

from psishare.exchange.recount import recount
from psishare.mandates.budget import Budget
from psishare.mandates.envelope import read_envelope
from psishare.mandates.spent import Usage
from psishare.psi.suite import Protocol
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from pathlib import Path

    from stage import Stage


def spend(stage: Stage, mandate: bytes) -> None:
    """Close one exchange of 20 rows and abort another after its first frame of 7."""
    platform = stage.responder(stage.listing(THEIRS), idle_timeout_s=-1)
    ask = stage.ask(OURS, protocol=Protocol.ECDH, mandate=mandate)
    stage.exchange(platform, ask)
    line = Dying(platform, stage.caller(), Call.EVALUATE, after=True)
    failed(stage.asker(line), ask)
    platform.expire()


def restarted(stage: Stage, state: Path | None) -> Stage:
    """Return the stage as it starts with a state that was restored, or lost."""
    stage.close()
    path = stage.homes[PLATFORM].state_path
    for file in path.parent.glob("state.db*"):
        file.unlink()
    if state is not None:
        shutil.copy(state, path)
    return OpenedStage(stage.homes[PLATFORM].path.parent)


def backup(stage: Stage, path: Path) -> Path:
    source, copy = sqlite3.connect(stage.homes[PLATFORM].state_path), sqlite3.connect(path)
    source.backup(copy)
    copy.close()
    source.close()
    return path


@pytest.mark.parametrize("restored", ["nothing", "the beginning", "the middle"])
def test_a_platform_that_starts_counts_its_log(stage: Stage, tmp_path: Path, restored: str) -> None:
    mandate = stage.envelope(max_rows_total=100)
    mandate_id = read_envelope(mandate).mandate.id
    Budget(stage.homes[PLATFORM].state_path).close()
    copies = {"nothing": None, "the beginning": backup(stage, tmp_path / "beginning.db")}
    spend(stage, mandate)
    copies["the middle"] = backup(stage, tmp_path / "middle.db")
    spend(stage, mandate)
    assert stage.rooms().budget.usage(mandate_id) == Usage(54, 4)
    again = restarted(stage, copies[restored])
    try:
        platform = again.responder(again.listing(THEIRS))
        platform.recover()
        budget = again.rooms().budget
        assert budget.usage(mandate_id) == Usage(54, 4)
        assert budget.open_exchanges() == ()
        assert budget.counted() == again.platform.log.size
        assert recount(again.platform.log, budget) == 0
        ask = again.ask(OURS, protocol=Protocol.ECDH, mandate=mandate)
        again.exchange(platform, ask)
        again.exchange(platform, ask)
        error = failed(again.asker(again.channel(platform)), ask)
        assert error.reason == "budget_rows_exhausted"
    finally:
        again.close()
