"""Held offers: nothing is evaluated before a second operator has approved exactly this offer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hostile_exchange import COMMON, OURS, THEIRS, Line, entries, failed, told, verified
from stage import AUTHORITY, ISSUER, OPERATOR, PLATFORM, VALIDATOR, OpenedStage, Stage

from psishare.audit.entry import ExchangeHeld
from psishare.errors import AuthorisationError, ConfigError, ExitCode, InputError, PsishareError
from psishare.evidence.export import Scope, export_bundle
from psishare.evidence.reconcile import reconcile
from psishare.evidence.report import make_report
from psishare.evidence.story import Ending
from psishare.evidence.verify import verify_evidence
from psishare.exchange.approvals import Approvals
from psishare.exchange.document import now
from psishare.exchange.journal import Journal
from psishare.exchange.register import State
from psishare.mandates.policy import Approval, Policy
from psishare.parties.home import Home
from psishare.psi.suite import Protocol
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.exchange.ask import Ask
    from psishare.exchange.platform import Platform
    from psishare.exchange.register import Row

FOUR_EYES = Policy(approval=Approval(always=True))
HELD = ("exchange.held", "approval_required")


def ask(stage: Stage, **changes: Any) -> Ask:
    return stage.ask(OURS, **({"protocol": Protocol.ECDH} | changes))


def platform(stage: Stage, policy: Policy = FOUR_EYES, **options: Any) -> Platform:
    return stage.responder(stage.listing(THEIRS), policy=policy, **options)


def held(stage: Stage, responder: Platform, asked: Ask | None = None) -> Row:
    """Make an offer that is held, and return the platform's row of it."""
    error = failed(stage.asker(stage.channel(responder)), asked or ask(stage))
    assert (type(error), error.reason) == (AuthorisationError, "approval_required")
    assert error.exit_code is ExitCode.REFUSED
    assert "--resume" in error.mend
    (row,) = [row for row in stage.platform.register.rows() if row.state is State.HELD]
    return row


def decide(
    stage: Stage,
    row: Row,
    verdict: Any = "approved",
    *,
    operator: str = OPERATOR,
    policy: Policy = FOUR_EYES,
) -> None:
    approvals = Approvals(stage.rooms(policy=policy), Journal(stage.platform.log))
    signer = stage.homes[operator].log_signer()
    approvals.decide(row, operator=operator, signer=signer, verdict=verdict)


def go_on(stage: Stage, responder: Platform, row: Row, values: list[bytes] = OURS) -> Any:
    asker = stage.asker(stage.channel(responder))
    return asker.resume(row.exchange_id, stage.ask(values).identifiers)


def refused(stage: Stage, responder: Platform, row: Row) -> PsishareError:
    with pytest.raises(PsishareError) as raised:
        go_on(stage, responder, row)
    return raised.value


def reconciled(stage: Stage) -> tuple[str, ...]:
    trust = {name: home.card for name, home in stage.homes.items()}
    ours, theirs = (stage.homes[party].log_path for party in (AUTHORITY, PLATFORM))
    return tuple(f.finding for f in reconcile(ours, theirs, trust).findings)


def test_a_held_offer_goes_on_once_it_is_approved(stage: Stage) -> None:
    responder = platform(stage)
    row = held(stage, responder)
    assert told(stage, PLATFORM) == told(stage, AUTHORITY) == [HELD]
    assert stage.rooms().budget.usage(row.mandate_id or "").exchanges == 0
    assert refused(stage, responder, row).reason == "approval_required"
    # Asked again before anybody has decided, it is held still, and logged no more.
    assert told(stage, PLATFORM) == told(stage, AUTHORITY) == [HELD]
    decide(stage, row)
    outcome = go_on(stage, responder, row)
    assert outcome.matched.to_pylist() == COMMON
    ours = ["exchange.held", "exchange.opened", "exchange.closed"]
    assert [kind for kind, _ in told(stage, AUTHORITY)] == ours
    assert [kind for kind, _ in told(stage, PLATFORM)] == [
        "exchange.held",
        "exchange.approved",
        *ours[1:],
    ]
    for verdict in verified(stage).values():
        (exchange,) = verdict.exchanges
        assert exchange.ending is Ending.CLOSED
    assert reconciled(stage) == ()


def test_both_logs_hold_what_the_platform_signed_of_the_offer(stage: Stage) -> None:
    row = held(stage, platform(stage))
    theirs, ours = (
        next(e for e in entries(stage, party) if isinstance(e, ExchangeHeld))
        for party in (PLATFORM, AUTHORITY)
    )
    assert (theirs.hold, theirs.platform_signature) == (ours.hold, ours.platform_signature)
    assert theirs.exchange_id == row.exchange_id.hex()
    assert (theirs.rows, theirs.kind) == (len(OURS), "phone")
    for verdict in verified(stage).values():
        (exchange,) = verdict.exchanges
        assert (exchange.ending, exchange.reason) == (Ending.HELD, "approval_required")
    assert reconciled(stage) == ()


def test_a_held_offer_is_reported_and_is_no_silence(stage: Stage) -> None:
    held(stage, platform(stage))
    trust = {name: home.card for name, home in stage.homes.items()}
    for party in (PLATFORM, AUTHORITY):
        told_of = make_report(stage.homes[party].log_path, trust)
        assert not told_of.silence.silent
        (total,) = told_of.totals
        # Nobody has been asked about anybody yet.
        assert (total.held, total.refused, total.rows) == (1, 0, 0)


def test_a_bundle_of_one_exchange_holds_what_was_decided_on_it(
    stage: Stage, tmp_path: Path
) -> None:
    responder = platform(stage)
    row = held(stage, responder)
    decide(stage, row)
    go_on(stage, responder, row)
    trust = {name: home.card for name, home in stage.homes.items()}
    path = tmp_path / "one.bundle"
    scope = Scope(exchange_id=row.exchange_id.hex())
    export_bundle(stage.homes[PLATFORM], path, scope)
    verdict = verify_evidence(path, trust)
    assert verdict.log.entries_by_type["exchange.approved"] == 1
    (exchange,) = verdict.exchanges
    assert (exchange.ending, exchange.mandate) == (Ending.CLOSED, "covers")
    without = {name: card for name, card in trust.items() if name != OPERATOR}
    with pytest.raises(ConfigError) as raised:
        verify_evidence(path, without)
    assert raised.value.reason == "card_missing"


def test_a_rejected_offer_is_refused_and_stays_so(stage: Stage) -> None:
    responder = platform(stage)
    row = held(stage, responder)
    decide(stage, row, "rejected")
    error = refused(stage, responder, row)
    assert (error.reason, error.exit_code) == ("approval_rejected", ExitCode.REFUSED)
    refusal = ("exchange.refused", "approval_rejected")
    assert told(stage, AUTHORITY) == [HELD, refusal]
    assert [kind for kind, _ in told(stage, PLATFORM)] == [
        "exchange.held",
        "exchange.rejected",
        "exchange.refused",
    ]
    assert isinstance(refused(stage, responder, row), InputError)
    verified(stage)
    assert reconciled(stage) == ()


def test_a_ticket_ends(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    responder = platform(stage)
    row = held(stage, responder)
    decide(stage, row)
    late = now() + timedelta(hours=73)
    monkeypatch.setattr("psishare.exchange.approvals.now", lambda: late)
    assert refused(stage, responder, row).reason == "ticket_expired"
    assert told(stage, AUTHORITY)[-1] == ("exchange.refused", "ticket_expired")
    verified(stage)


def test_nobody_decides_on_a_ticket_that_has_ended(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = held(stage, platform(stage))
    late = now() + timedelta(hours=73)
    monkeypatch.setattr("psishare.exchange.approvals.now", lambda: late)
    with pytest.raises(AuthorisationError) as raised:
        decide(stage, row)
    assert raised.value.reason == "ticket_expired"


def test_a_ticket_is_decided_on_once(stage: Stage) -> None:
    row = held(stage, platform(stage))
    decide(stage, row)
    for verdict in ("approved", "rejected"):
        with pytest.raises(InputError) as raised:
            decide(stage, row, verdict)
        assert raised.value.reason == "approval_repeated"
    assert [kind for kind, _ in told(stage, PLATFORM)] == ["exchange.held", "exchange.approved"]


@pytest.mark.parametrize("operator", [AUTHORITY, ISSUER, VALIDATOR, PLATFORM])
def test_no_party_to_the_exchange_or_its_mandate_decides(stage: Stage, operator: str) -> None:
    row = held(stage, platform(stage))
    if operator != PLATFORM:
        trusted = {ISSUER: ("issuer",), VALIDATOR: ("validator",)}.get(operator, ())
        stage.pin(PLATFORM, operator, "approver", *trusted)
    stage.platform.peers.reload()
    with pytest.raises(AuthorisationError) as raised:
        decide(stage, row, operator=operator)
    assert raised.value.reason == "approver_untrusted"
    assert [kind for kind, _ in told(stage, PLATFORM)] == ["exchange.held"]


def test_only_a_trusted_operator_that_the_policy_names_decides(stage: Stage) -> None:
    row = held(stage, platform(stage))
    other = Policy(approval=Approval(always=True, approvers=frozenset({"third.example"})))
    with pytest.raises(AuthorisationError) as raised:
        decide(stage, row, policy=other)
    assert raised.value.reason == "approver_untrusted"
    stage.pin(PLATFORM, OPERATOR)
    stage.platform.peers.reload()
    with pytest.raises(AuthorisationError) as raised:
        decide(stage, row)
    assert raised.value.reason == "approver_untrusted"


def test_an_approval_counts_as_long_as_its_operator_is_trusted(stage: Stage) -> None:
    responder = platform(stage)
    row = held(stage, responder)
    decide(stage, row)
    stage.platform.peers.remove(OPERATOR)
    assert refused(stage, responder, row).reason == "approval_withdrawn"
    assert told(stage, AUTHORITY)[-1] == ("exchange.refused", "approval_withdrawn")


def test_an_approval_is_of_one_list(stage: Stage) -> None:
    responder = platform(stage)
    row = held(stage, responder)
    decide(stage, row)
    with pytest.raises(InputError) as raised:
        go_on(stage, responder, row, [*OURS[1:], b"+4915100009999"])
    assert raised.value.reason == "list_differs"
    assert told(stage, AUTHORITY) == [HELD]


def test_an_approval_is_of_one_offer(stage: Stage) -> None:
    responder = platform(stage)
    mandate = stage.envelope()
    row = held(stage, responder, ask(stage, mandate=mandate))
    decide(stage, row)
    go_on(stage, responder, row)
    # The same list under the same mandate, offered anew, is held anew.
    assert held(stage, responder, ask(stage, mandate=mandate)).exchange_id != row.exchange_id


def test_a_ticket_opens_one_exchange(stage: Stage) -> None:
    line = Line(platform(stage), stage.caller())
    failed(stage.asker(line), ask(stage))
    (row,) = stage.platform.register.rows()
    decide(stage, row)
    stage.asker(line).resume(row.exchange_id, stage.ask(OURS).identifiers)
    with pytest.raises(AuthorisationError) as raised:
        line.again(Call.OFFER)
    assert raised.value.reason == "exchange_repeated"


def test_mandate_policy_and_budget_decide_again_when_it_goes_on(stage: Stage) -> None:
    mandate = stage.envelope(max_rows_total=len(OURS))
    row = held(stage, platform(stage), ask(stage, mandate=mandate))
    decide(stage, row)
    stage.exchange(platform(stage, Policy()), ask(stage, mandate=mandate))
    assert refused(stage, platform(stage), row).reason == "budget_rows_exhausted"
    assert told(stage, AUTHORITY)[-1] == ("exchange.refused", "budget_rows_exhausted")
    verified(stage)
    assert reconciled(stage) == ()


def test_a_hold_that_is_not_the_platforms_is_not_believed(stage: Stage) -> None:
    def resign(response: Any) -> None:
        response.hold.signature = stage.homes[ISSUER].log_signer().sign(response.hold.document)

    line = Line(platform(stage), stage.caller(), responses={Call.OFFER: resign})
    assert failed(stage.asker(line), ask(stage)).reason == "answer_invalid"
    assert "exchange.held" not in [kind for kind, _ in told(stage, AUTHORITY)]


def test_a_platform_that_starts_again_knows_what_it_holds(stage: Stage) -> None:
    row = held(stage, platform(stage))
    decide(stage, row)
    stage.close()
    again = OpenedStage(stage.homes[PLATFORM].path.parent)
    try:
        responder = platform(again)
        responder.recover()
        assert go_on(again, responder, row).matched.to_pylist() == COMMON
    finally:
        again.close()


@pytest.mark.parametrize("fails", [(Home, "unlock"), (Journal, "decided")])
def test_a_decision_that_the_log_does_not_take_does_not_count(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, fails: tuple[type, str]
) -> None:
    responder = platform(stage)
    row = held(stage, responder)

    def closed(*_: Any) -> None:
        raise ConfigError("the keys do not open", mend="Open them.", reason="passphrase_wrong")

    monkeypatch.setattr(*fails, closed)
    for verdict in ("approved", "rejected"):
        with pytest.raises(ConfigError):
            decide(stage, row, verdict)
    monkeypatch.undo()
    assert refused(stage, responder, row).reason == "approval_required"
    assert told(stage, PLATFORM) == [HELD]
    decide(stage, row)
    assert go_on(stage, responder, row).matched.to_pylist() == COMMON
    verified(stage)


def test_a_decision_counts_though_its_operator_was_cut_off_once_the_log_had_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    responder = platform(stage)
    row = held(stage, responder)
    decided = Journal.decided

    def cut_off(journal: Journal, *what: Any) -> None:
        decided(journal, *what)
        raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "decided", cut_off)
    with pytest.raises(KeyboardInterrupt):
        decide(stage, row)
    monkeypatch.undo()
    with pytest.raises(InputError) as raised:
        decide(stage, row, "rejected")
    assert raised.value.reason == "approval_repeated"
    assert go_on(stage, responder, row).matched.to_pylist() == COMMON
    kinds = [kind for kind, _ in told(stage, PLATFORM)]
    assert kinds[:3] == ["exchange.held", "exchange.approved", "exchange.opened"]
    verified(stage)


def test_a_log_that_opens_what_was_not_approved_does_not_verify(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    responder = platform(stage)
    row = held(stage, responder)
    monkeypatch.setattr(Approvals, "is_approved", lambda *_: True)
    go_on(stage, responder, row)
    with pytest.raises(PsishareError) as raised:
        verified(stage)
    assert raised.value.reason == "log_contradicts"
    assert "not approved" in raised.value.message
