"""Reconciliation: two logs that tell the same story, and each way in which they may not."""

from __future__ import annotations

import base64
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from evidence_stage import SUSPECTS, exported, past, trust
from stage import AUTHORITY, PLATFORM, CopiedStage, Stage

from psishare.audit.entry import (
    Entry,
    ExchangeAborted,
    ExchangeClosed,
    ExchangeOpened,
    parse_entry,
)
from psishare.audit.log import Log
from psishare.errors import VerificationError
from psishare.evidence.export import Scope
from psishare.evidence.reconcile import Finding, reconcile
from psishare.evidence.verify import verify_evidence
from psishare.exchange.receipt import Receipt, sign_receipt
from psishare.keys.note_key import NoteSigner, SignatureType
from psishare.psi import suite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass
class Lived:
    stage: Stage
    told: dict[str, Any]

    def log(self, party: str) -> Path:
        return self.stage.homes[party].log_path

    def entries(self, party: str) -> list[Entry]:
        log = self.stage.side(party).log
        return [parse_entry(data) for data in log.entries(0, log.size)]

    def rewritten(self, party: str, folder: Path, change: Any) -> Path:
        """Write a party's log anew, with its own keys, as a dishonest owner can."""
        home = self.stage.homes[party]
        signer = NoteSigner(party, SignatureType.ED25519, home.log_signer())
        pq_signer = NoteSigner(party, SignatureType.ML_DSA_44, home.pq_signer())
        log = Log.create(folder, origin=party, signer=signer, pq_signer=pq_signer)
        for entry in change(self.entries(party)):
            log.append(entry)
        return folder

    def findings(self, ours: Path, theirs: Path) -> list[Finding]:
        result = reconcile(ours, theirs, trust(self.stage))
        swapped = reconcile(theirs, ours, trust(self.stage))
        assert result.findings == swapped.findings
        return list(result.findings)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture(scope="module")
def lived(homes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        stage = CopiedStage(homes, tmp_path_factory.mktemp("reconciled"))
        told = past(stage)
    yield Lived(stage, told)
    stage.close()


def ids(lived: Lived) -> list[str]:
    return [outcome.receipt.receipt.exchange_id for outcome in lived.told["outcomes"]]


def of(exchange_id: str) -> Callable[[Entry], bool]:
    return lambda entry: getattr(entry, "exchange_id", None) == exchange_id


def test_two_honest_logs_tell_the_same_story(lived: Lived, tmp_path: Path) -> None:
    assert lived.findings(lived.log(PLATFORM), lived.log(AUTHORITY)) == []
    bundles = [exported(lived.stage, party, tmp_path / party) for party in (PLATFORM, AUTHORITY)]
    assert lived.findings(*bundles) == []
    assert reconcile(bundles[0], bundles[1], trust(lived.stage)).n_exchanges == 3


@pytest.mark.parametrize("party", [PLATFORM, AUTHORITY])
def test_an_exchange_that_a_side_hides_is_missing_there(
    lived: Lived, tmp_path: Path, party: str
) -> None:
    hidden = ids(lived)[1]
    folder = lived.rewritten(
        party, tmp_path / "log", lambda entries: [e for e in entries if not of(hidden)(e)]
    )
    (other,) = {PLATFORM, AUTHORITY} - {party}
    [finding] = lived.findings(folder, lived.log(other))
    assert (finding.finding, finding.party, finding.exchange_id) == (
        "exchange_missing",
        party,
        hidden,
    )


def without_end(exchange_id: str) -> Any:
    return lambda entries: [
        e for e in entries if not (of(exchange_id)(e) and isinstance(e, ExchangeClosed))
    ]


def test_a_receipt_that_never_arrived_is_named_as_such(lived: Lived, tmp_path: Path) -> None:
    exchange_id = ids(lived)[0]
    folder = lived.rewritten(AUTHORITY, tmp_path / "log", without_end(exchange_id))
    [finding] = lived.findings(folder, lived.log(PLATFORM))
    assert (finding.finding, finding.party) == ("receipt_undelivered", AUTHORITY)


def test_an_exchange_that_the_platform_cut_short_is_named(lived: Lived, tmp_path: Path) -> None:
    exchange_id = ids(lived)[0]
    folder = lived.rewritten(PLATFORM, tmp_path / "log", without_end(exchange_id))
    [finding] = lived.findings(folder, lived.log(AUTHORITY))
    assert (finding.finding, finding.party) == ("exchange_cut_short", PLATFORM)


def test_an_end_that_is_told_differently_is_named(lived: Lived, tmp_path: Path) -> None:
    exchange_id = ids(lived)[1]

    def change(entries: list[Entry]) -> list[Entry]:
        closed = next(e for e in entries if of(exchange_id)(e) and isinstance(e, ExchangeClosed))
        aborted = ExchangeAborted(
            exchange_id=exchange_id,
            peer=AUTHORITY,
            mandate_id=closed.mandate_id,
            reason="peer_silent",
            frames=0,
            rows=0,
            requests_transcript=None,
            last_signature=None,
            at_fault=AUTHORITY,
        )
        return [aborted if e is closed else e for e in entries]

    folder = lived.rewritten(PLATFORM, tmp_path / "log", change)
    [finding] = lived.findings(folder, lived.log(AUTHORITY))
    assert finding.finding == "told_differently"
    assert "closed" in finding.detail
    assert "peer_silent" in finding.detail


def test_a_receipt_that_both_signed_twice_is_an_edited_exchange(
    lived: Lived, tmp_path: Path
) -> None:
    exchange_id = ids(lived)[0]

    def change(entries: list[Entry]) -> list[Entry]:
        closed = next(e for e in entries if of(exchange_id)(e) and isinstance(e, ExchangeClosed))
        receipt = Receipt.parse(base64.b64decode(closed.receipt))
        other = receipt.model_copy(update={"closed": "2031-01-01T00:00:00Z"})
        signatures = {
            f"{role}_signature": base64.b64encode(
                sign_receipt(other.document(), lived.stage.homes[party].log_signer())
            ).decode()
            for role, party in (("authority", AUTHORITY), ("platform", PLATFORM))
        }
        edited = closed.model_copy(
            update={
                "receipt": base64.b64encode(other.document()).decode(),
                "receipt_sha256": other.sha256.hex(),
                **signatures,
            }
        )
        return [edited if e is closed else e for e in entries]

    folder = lived.rewritten(AUTHORITY, tmp_path / "log", change)
    [finding] = lived.findings(folder, lived.log(PLATFORM))
    assert (finding.finding, finding.exchange_id) == ("exchange_edited", exchange_id)


def test_exchanges_that_a_side_swapped_are_named(lived: Lived, tmp_path: Path) -> None:
    one, two = ids(lived)

    def change(entries: list[Entry]) -> list[Entry]:
        first = [e for e in entries if of(one)(e)]
        second = [e for e in entries if of(two)(e)]
        rest = [e for e in entries if not of(one)(e) and not of(two)(e)]
        return [*rest, *second, *first]

    folder = lived.rewritten(PLATFORM, tmp_path / "log", change)
    assert "exchanges_reordered" in {
        finding.finding for finding in lived.findings(folder, lived.log(AUTHORITY))
    }


def test_a_delivery_that_the_platform_hides_is_named(lived: Lived, tmp_path: Path) -> None:
    folder = lived.rewritten(
        PLATFORM, tmp_path / "log", lambda es: [e for e in es if e.type != "dataset.delivered"]
    )
    [finding] = lived.findings(folder, lived.log(AUTHORITY))
    assert (finding.finding, finding.party) == ("delivery_missing", PLATFORM)


def test_a_mandate_that_was_used_beyond_its_caps_is_named(stage: Stage, tmp_path: Path) -> None:
    lived = Lived(stage, {})
    listed = stage.listing([b"a", b"b"], name="list")
    responder = stage.responder(listed)
    mandate = stage.envelope(max_exchanges=2, max_rows_total=2 * len(SUSPECTS))
    ask = {"dataset": "list", "protocol": suite.Protocol.ECDH, "mandate": mandate}
    for _ in range(2):
        stage.exchange(responder, stage.ask(SUSPECTS, **ask))
    # A platform that forgets what was charged lets the mandate be used anew.
    stage.platform.register.close()
    stage.homes[PLATFORM].state_path.unlink()
    stage.platform = stage.side(PLATFORM)
    stage.exchange(stage.responder(listed), stage.ask(SUSPECTS, **ask))
    bundles = [exported(stage, party, tmp_path / party) for party in (PLATFORM, AUTHORITY)]
    names = [finding.finding for finding in lived.findings(*bundles)]
    assert names == ["mandate_over_caps", "mandate_over_caps"]
    verdict = verify_evidence(bundles[0], trust(stage))
    assert verdict.exchanges[2].mandate == "budget_exchanges_exhausted"


def test_two_copies_of_one_log_that_part_are_a_fork(lived: Lived, tmp_path: Path) -> None:
    log = lived.log(PLATFORM)
    copy = shutil.copytree(log, tmp_path / "copy")
    assert reconcile(log, copy, trust(lived.stage)).findings == ()
    folder = lived.rewritten(PLATFORM, tmp_path / "log", without_end(ids(lived)[1]))
    [finding] = reconcile(log, folder, trust(lived.stage)).findings
    assert (finding.finding, finding.party) == ("log_forked", PLATFORM)


def test_what_a_scope_leaves_out_is_not_missing(lived: Lived, tmp_path: Path) -> None:
    one, two = (
        exported(lived.stage, PLATFORM, tmp_path / name, Scope(exchange_id=name))
        for name in ids(lived)
    )
    assert lived.findings(one, lived.log(AUTHORITY)) == []
    ours = exported(lived.stage, AUTHORITY, tmp_path / "ours", Scope(exchange_id=ids(lived)[0]))
    assert lived.findings(ours, two) == []


def test_a_log_that_does_not_verify_is_not_compared(lived: Lived, tmp_path: Path) -> None:
    def change(entries: list[Entry]) -> list[Entry]:
        opened = next(e for e in entries if isinstance(e, ExchangeOpened))
        edited = opened.model_copy(update={"rows": opened.rows + 1})
        return [edited if e is opened else e for e in entries]

    folder = lived.rewritten(PLATFORM, tmp_path / "log", change)
    with pytest.raises(VerificationError) as caught:
        reconcile(folder, lived.log(AUTHORITY), trust(lived.stage))
    assert caught.value.reason == "log_contradicts"
