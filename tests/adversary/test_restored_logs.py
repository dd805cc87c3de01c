"""A log that was restored from an old copy signs nothing, so that no two trees of one size are signed."""

from __future__ import annotations

import logging
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from audit_examples import create_log, heartbeats, make_party
from evidence_stage import CUSTOMERS, SUSPECTS
from stage import AUTHORITY, PLATFORM, Side, Stage

from psishare.audit.layout import CHECKPOINT, INTENT
from psishare.audit.log import Log
from psishare.client.opened_home import open_log
from psishare.errors import AuditError, TransportError, VerificationError
from psishare.exchange.authority import Authority
from psishare.psi import suite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psishare.transport.channel import Call


def restored(folder: Path, copy: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)


@pytest.mark.parametrize("party", [PLATFORM, AUTHORITY])
def test_a_log_that_its_home_s_own_exchanges_know_to_be_larger_is_not_opened(
    stage: Stage, tmp_path: Path, party: str
) -> None:
    responder = stage.responder(stage.listing(CUSTOMERS, name="list"))
    home = stage.homes[party]
    shutil.copytree(home.log_path, tmp_path / "old")
    stage.exchange(responder, stage.ask(SUSPECTS, dataset="list", protocol=suite.Protocol.ECDH))
    assert open_log(home).size > 1
    restored(home.log_path, tmp_path / "old")
    before = (home.log_path / CHECKPOINT).read_bytes()
    with pytest.raises(AuditError) as caught:
        open_log(home)
    assert caught.value.reason == "log_rolled_back"
    assert (home.log_path / CHECKPOINT).read_bytes() == before


def test_a_restored_log_does_not_even_finish_what_it_had_decided(tmp_path: Path) -> None:
    party = make_party()
    log = create_log(tmp_path / "log")
    log.append_all(heartbeats(1))
    old = tmp_path / "old"
    shutil.copytree(tmp_path / "log", old)
    log.append_all(heartbeats(4))
    shutil.copy(tmp_path / "old" / CHECKPOINT, old / "kept")
    (old / "kept").rename(old / CHECKPOINT)
    (old / INTENT).write_text("police.example/log\n3\n" + "A" * 43 + "=\n", encoding="ascii")
    with pytest.raises(AuditError) as caught:
        Log.open(
            old,
            origin=party.name,
            signer=party.signer,
            pq_signer=party.pq_signer,
            known_size=log.size,
        )
    assert caught.value.reason == "log_rolled_back"
    assert not (old / "checkpoints" / "3").exists()


class Silent:
    """A channel to a platform that cannot be reached."""

    peer = PLATFORM

    def call(self, call: Call, request: object, *, timeout_s: float | None = None) -> Any:
        raise TransportError("silent", mend="try again")


def cut(*_arguments: object) -> Any:
    raise TransportError("silent", mend="try again")


@pytest.fixture
def old_side(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Side]:
    """Restore an authority's whole home from a backup that was taken in the midst of an exchange."""
    home = stage.homes[AUTHORITY]
    channel = stage.channel(stage.responder(stage.listing(CUSTOMERS, name="list")))
    ask = stage.ask(SUSPECTS, dataset="list", protocol=suite.Protocol.ECDH)
    stage.authority.register.close()
    cut_off = stage.side(AUTHORITY)
    with monkeypatch.context() as patch:
        patch.setattr(Authority, "_ask_until_closed", cut)
        with pytest.raises(TransportError):
            stage.asker(channel, cut_off).exchange(ask)
    cut_off.register.close()
    shutil.copytree(home.path, tmp_path / "backup")
    later = stage.side(AUTHORITY)
    stage.asker(channel, later).recover()
    stage.asker(channel, later).exchange(ask)
    later.register.close()
    restored(home.path, tmp_path / "backup")
    side = stage.side(AUTHORITY)
    yield side
    side.register.close()


def test_an_authority_restored_whole_asks_before_it_enters_an_abort(
    stage: Stage, old_side: Side
) -> None:
    before = old_side.log.head()
    channel = stage.channel(stage.responder(stage.listing(CUSTOMERS, name="list")))
    with pytest.raises(VerificationError) as caught:
        stage.asker(channel, old_side).recover()
    assert caught.value.reason == "log_rolled_back"
    assert old_side.log.head() == before


def test_where_nobody_can_be_asked_a_warning_says_so(
    stage: Stage,
    old_side: Side,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Its time is over, so that its end is entered.
    monkeypatch.setattr("psishare.exchange.left_open.RESUMABLE_FOR", timedelta(days=-1))
    with caplog.at_level(logging.WARNING):
        assert stage.asker(Silent(), old_side).recover() == 1  # type: ignore[arg-type]
    assert "nobody could be asked" in caplog.text
