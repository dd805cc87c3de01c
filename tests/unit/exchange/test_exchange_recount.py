"""A state that was lost, or restored from an old copy, gives no budget back."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from air_gap import AirGap
from hostile_exchange import OURS, THEIRS, Dying, failed
from stage import ISSUER, PLATFORM, VALIDATOR, OpenedStage

from psishare.errors import AuthorisationError
from psishare.exchange.document import now
from psishare.exchange.recount import recount
from psishare.mandates.archive import SUFFIX
from psishare.mandates.budget import Budget
from psishare.mandates.draft import Grounds
from psishare.mandates.envelope import new_envelope, read_envelope, sign_envelope
from psishare.mandates.policy import Emergency, Policy
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


@pytest.mark.parametrize("is_kept", [True, False], ids=["mandate kept", "mandate lost"])
def test_a_platform_that_starts_remembers_what_was_delivered(
    stage: Stage, *, is_kept: bool
) -> None:
    mandate = stage.envelope()
    stage.exchange(stage.responder(stage.encode(THEIRS)), stage.ask(OURS, mandate=mandate))
    if not is_kept:
        (
            stage.homes[PLATFORM].mandates_path / f"{hashlib.sha256(mandate).hexdigest()}{SUFFIX}"
        ).unlink()
    again = restarted(stage, None)
    try:
        newer = again.responder(again.encode(THEIRS[1:]))
        newer.recover()
        error = failed(again.asker(again.channel(newer)), again.ask(OURS, mandate=mandate))
        assert error.reason == "mandate_not_standing"
    finally:
        again.close()


def test_a_platform_that_starts_remembers_what_an_emergency_was_given(stage: Stage) -> None:
    """The validator signs while the state is lost: another envelope, the same mandate."""
    draft = stage.mandate(emergency=Grounds("danger to life", now() + timedelta(days=2)))
    alone = sign_envelope(new_envelope(draft), stage.homes[ISSUER].log_signer(), party=ISSUER)
    taking = Policy(emergency=Emergency(allowed=True))
    platform = stage.responder(stage.encode(THEIRS), policy=taking)
    stage.exchange(platform, stage.ask(OURS, mandate=alone))
    again = restarted(stage, None)
    try:
        both = sign_envelope(alone, again.homes[VALIDATOR].log_signer(), party=VALIDATOR)
        newer = again.responder(again.encode(THEIRS[1:]))
        newer.recover()
        error = failed(again.asker(again.channel(newer)), again.ask(OURS, mandate=both))
        assert error.reason == "mandate_not_standing"
    finally:
        again.close()


@pytest.mark.parametrize("dataset", [False, True], ids=["request", "dataset"])
def test_a_platform_that_works_by_files_counts_its_log_too(
    stage: Stage, tmp_path: Path, *, dataset: bool
) -> None:
    mandate = stage.envelope(max_rows_total=len(OURS))
    offering = stage.encode(THEIRS) if dataset else stage.listing(THEIRS)
    protocol = Protocol.OPRF if dataset else Protocol.ECDH
    stage.exchange(stage.responder(offering), stage.ask(OURS, mandate=mandate, protocol=protocol))
    again = restarted(stage, None)
    try:
        newer = again.encode(THEIRS[1:]) if dataset else again.listing(THEIRS)
        gap = AirGap(again, tmp_path, newer)
        if dataset:
            with pytest.raises(AuthorisationError) as raised:
                gap.export(mandate)
            assert raised.value.reason == "mandate_not_standing"
        else:
            answered = gap.answer(gap.request(again.ask(OURS, mandate=mandate, protocol=protocol)))
            assert answered.reason == "budget_rows_exhausted"
    finally:
        again.close()
