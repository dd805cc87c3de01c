"""The report of a period: who asked whom, when, and why; refusals too; totals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evidence_stage import exported, past, trust
from stage import AUTHORITY, ISSUER, PLATFORM, VALIDATOR, Stage

from psishare.audit.entry import Heartbeat
from psishare.evidence.export import Scope
from psishare.evidence.report import make_report
from psishare.evidence.silence import Silence
from psishare.evidence.verify import verify_evidence

if TYPE_CHECKING:
    from pathlib import Path


def test_a_report_tells_justification_time_who_and_to_whom(stage: Stage, tmp_path: Path) -> None:
    past(stage)
    for party in (PLATFORM, AUTHORITY):
        told = make_report(exported(stage, party, tmp_path / party), trust(stage))
        outcomes = [(event.event, event.outcome) for event in told.events]
        assert outcomes == [
            ("delivery", "delivered"),
            ("exchange", "closed"),
            ("exchange", "refused"),
            ("exchange", "closed"),
        ]
        assert {(event.authority, event.platform) for event in told.events} == {
            (AUTHORITY, PLATFORM)
        }
        closed = told.events[1]
        assert closed.legal_basis == "Code of criminal procedure, section 100"
        assert closed.purpose == "to find accounts of suspects"
        assert (closed.issuer, closed.validator, closed.mandate) == (ISSUER, VALIDATOR, "covers")
        assert told.events[2].reason == "mandate_other_kind"
        assert [(t.exchanges, t.refused, t.rows) for t in told.totals] == [(0, 1, 0), (2, 0, 60)]
    assert told.heartbeats == 0


def test_a_report_of_another_period_is_empty_and_counts_heartbeats_in_its_own(
    stage: Stage, tmp_path: Path
) -> None:
    past(stage)
    path = exported(stage, PLATFORM, tmp_path / "all")
    told = make_report(path, trust(stage), until="2001-01-01T00:00:00Z")
    assert (told.events, told.totals, told.heartbeats) == ((), (), 0)
    assert (told.silence.silent, told.silence.vouched_from) == (True, None)
    told = make_report(path, trust(stage), since="2001-01-01T00:00:00Z")
    assert (told.heartbeats, told.failed_handshakes) == (1, 3)
    assert not told.silence.silent
    assert told.silence.vouched_from is not None


def test_a_bundle_of_a_silent_period_says_so(stage: Stage, tmp_path: Path) -> None:
    for year in (2041, 2043, 2045):
        stage.platform.log.append(Heartbeat(failed_handshakes=0, time=f"{year}-01-01T00:00:00Z"))
    scope = Scope(since="2042-01-01T00:00:00Z", until="2044-01-01T00:00:00Z")
    path = exported(stage, PLATFORM, tmp_path / "silent", scope)
    silence = verify_evidence(path, trust(stage)).silence
    assert silence == Silence(True, scope.since, scope.until, 365 * 86_400)
