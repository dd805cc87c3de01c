"""What holds for every mandate, envelope and budget."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from budget_examples import reserve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mandate_examples import (
    AUTHORITY,
    ISSUER,
    NOW,
    PLATFORM,
    Signers,
    make_mandate,
    make_request,
)

from psishare.errors import AuthorisationError, ProtocolError, PsishareError
from psishare.exchange.reasons import REASONS
from psishare.exchange.request_file import read_request
from psishare.mandates.asked import Asked
from psishare.mandates.budget import Budget
from psishare.mandates.check import check_mandate
from psishare.mandates.decision import Verdict, decide
from psishare.mandates.envelope import read_envelope, verify_envelope
from psishare.mandates.mandate import parse_mandate
from psishare.mandates.policy import (
    WEEKDAYS,
    Approval,
    Emergency,
    Hours,
    PerDay,
    Policy,
    Validators,
)
from psishare.mandates.revocation import (
    read_revocations,
    revoke,
    sign_revocations,
    verify_revocations,
)
from psishare.mandates.spent import Spent, Usage

if TYPE_CHECKING:
    from datetime import datetime

    from psishare.mandates.check import Request

SIGNERS = Signers()
ENVELOPE = SIGNERS.sign(make_mandate())

ORDER = (
    ("authority", "police.example/unit-9", "mandate_other_authority"),
    ("platform", "bank.example", "mandate_other_platform"),
    ("dataset", "employees", "mandate_other_dataset"),
    ("kind", "iban", "mandate_other_kind"),
    ("output", "count", "mandate_other_output"),
    ("protocol", "openmined", "mandate_other_protocol"),
    ("now", NOW + timedelta(days=100), "mandate_expired"),
    ("rows", 1_001, "mandate_over_rows"),
)


@given(st.integers(0, len(ENVELOPE) - 1), st.integers(1, 255))
@settings(max_examples=300)
def test_any_changed_byte_of_an_envelope_is_refused(position: int, flip: int) -> None:
    altered = bytearray(ENVELOPE)
    altered[position] ^= flip
    with pytest.raises(AuthorisationError):
        verify_envelope(bytes(altered), SIGNERS.trusted)


def test_every_single_bit_of_an_envelope_counts() -> None:
    for position in range(len(ENVELOPE)):
        altered = bytearray(ENVELOPE)
        altered[position] ^= 1
        with pytest.raises(AuthorisationError):
            verify_envelope(bytes(altered), SIGNERS.trusted)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_parsers_raise_anything_but_ours(data: bytes) -> None:
    for parse in (read_envelope, parse_mandate, read_revocations, read_request):
        with pytest.raises(PsishareError):
            parse(data)


@given(st.integers(0, len(ENVELOPE)), st.binary(max_size=8))
def test_cut_or_lengthened_envelope_is_refused(cut: int, tail: bytes) -> None:
    altered = ENVELOPE[:cut] + tail
    if altered != ENVELOPE:
        with pytest.raises(AuthorisationError):
            verify_envelope(altered, SIGNERS.trusted)


@given(st.lists(st.booleans(), min_size=len(ORDER), max_size=len(ORDER)))
def test_first_rule_that_fails_is_the_reason(broken: list[bool]) -> None:
    changes: dict[str, Any] = {
        name: value for (name, value, _), is_broken in zip(ORDER, broken, strict=True) if is_broken
    }
    now = changes.pop("now", NOW)
    expected = [reason for (_, _, reason), bad in zip(ORDER, broken, strict=True) if bad]
    if not expected:
        check_mandate(make_mandate(), make_request(**changes), now=now)
        return
    with pytest.raises(AuthorisationError) as caught:
        check_mandate(make_mandate(), make_request(**changes), now=now)
    assert caught.value.reason == expected[0]


words = st.sampled_from(["phone", "email", "iban", "oprf", "ecdh", "matches", "count", "both", ""])
requests = st.builds(
    make_request,
    authority=st.sampled_from([AUTHORITY, "customs.example"]) | st.text(max_size=8),
    platform=st.just(PLATFORM) | st.text(max_size=8),
    protocol=words | st.text(max_size=8),
    dataset=st.none() | st.just("customers") | st.text(max_size=8),
    kind=words | st.text(max_size=8),
    output=words | st.text(max_size=8),
    rows=st.integers(0, 100) | st.integers(0, 2**53 - 1),
)
# From the year 1205 to 9966: a platform's clock, however wrong.
days = st.integers(-300_000, 2_900_000).map(lambda number: NOW + timedelta(days=number))
moments = st.just(NOW) | st.builds(
    lambda day, second: day + timedelta(seconds=second), days, st.integers(0, 86_399)
)
caps = st.none() | st.integers(1, 100) | st.integers(1, 2**53 - 1)
parties = st.none() | st.sets(
    st.sampled_from([AUTHORITY, ISSUER, "customs.example"]), min_size=1
).map(frozenset)
kinds = st.none() | st.sets(st.sampled_from(["phone", "iban"]), min_size=1).map(frozenset)
outputs = st.none() | st.sets(st.sampled_from(["matches", "count", "both"]), min_size=1).map(
    frozenset
)
roles = st.sets(st.sampled_from(["judge", "court", "officer"]), min_size=1).map(frozenset)
weekdays = st.sets(st.sampled_from(WEEKDAYS), min_size=1).map(frozenset)
policies = st.builds(
    Policy,
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/Los_Angeles"]),
    clock_tolerance_s=st.integers(0, 86_400),
    issuers=parties,
    authorities=parties,
    kinds=kinds,
    outputs=outputs,
    min_rows=st.integers(0, 50),
    max_rows_per_exchange=caps,
    max_epoch_days=st.none() | st.integers(1, 3_660),
    max_share_of_dataset=st.none() | st.decimals("0.0001", "1", places=4),
    max_rows_per_mandate=caps,
    max_exchanges_per_mandate=caps,
    validators=st.lists(
        st.builds(Validators, roles=roles, kinds=kinds, outputs=outputs), max_size=2
    ).map(tuple),
    per_day=st.builds(
        PerDay, rows=caps, exchanges=caps, rows_per_authority=caps, exchanges_per_kind=caps
    ),
    hours=st.none()
    | st.lists(
        st.builds(Hours, days=weekdays, opens=st.sampled_from(["00:00", "08:00"])),
        min_size=1,
        max_size=2,
    ).map(tuple),
    emergency=st.builds(Emergency, allowed=st.booleans(), max_rows=caps),
    approval=st.builds(
        Approval, always=st.booleans(), above_rows=st.none() | st.integers(0, 50), kinds=kinds
    ),
)
usages = st.builds(Usage, st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1)) | st.just(Usage())
ledgers = st.builds(Spent, mandate=usages, day=usages, authority=usages, kind=usages)
CODES = {reason.code for reason in REASONS if reason.error is AuthorisationError}
DECIDED = make_mandate()


@given(
    policies,
    requests,
    ledgers,
    moments,
    st.none() | st.integers(0, 2**40),
    st.none() | moments,
    st.booleans(),
)
@settings(max_examples=400)
def test_a_decision_is_total_deterministic_and_has_a_reason(
    policy: Policy,
    request: Request,
    spent: Spent,
    now: datetime,
    dataset_rows: int | None,
    epoch_began: datetime | None,
    approved: bool,
) -> None:
    asked = Asked(
        mandate=DECIDED,
        request=request,
        dataset_rows=dataset_rows,
        epoch_began=epoch_began,
        approved=approved,
    )
    decision = decide(policy, asked, spent, now)
    assert decide(policy, asked, spent, now) == decision
    assert policy.day(now)[0] <= now < policy.day(now)[1]
    rules = (*decision.refusing, *decision.holding)
    assert {rule.reason for rule in rules} <= CODES
    failed = [rule.reason for rule in rules if not rule.passes]
    if not failed:
        assert (decision.verdict, decision.rule) == (Verdict.ALLOW, None)
        return
    assert decision.refusal().reason == failed[0]
    assert decision.refusal().message
    held = failed[0] == "approval_required"
    assert decision.verdict is (Verdict.HOLD if held else Verdict.REFUSE)
    assert not (held and approved)


@given(policies, requests, moments)
@settings(max_examples=200)
def test_a_policy_only_ever_narrows(policy: Policy, request: Request, now: datetime) -> None:
    asked = Asked(mandate=DECIDED, request=request, dataset_rows=10**6)
    lenient = Policy(clock_tolerance_s=policy.clock_tolerance_s)
    if decide(lenient, asked, Spent(), now).verdict is Verdict.REFUSE:
        assert decide(policy, asked, Spent(), now).verdict is Verdict.REFUSE
    if decide(policy, asked, Spent(), now).verdict is Verdict.ALLOW:
        assert decide(lenient, asked, Spent(), now).verdict is Verdict.ALLOW


printable = st.text(
    st.characters(exclude_categories=["Cc", "Cf", "Cs", "Co", "Zl", "Zp"]), min_size=1, max_size=50
).filter(lambda text: text == text.strip(" "))


@given(
    printable,
    st.sets(st.sampled_from(["matches", "count", "both"]), min_size=1),
    st.integers(1, 2**53 - 1),
    st.booleans(),
)
def test_every_draft_survives_its_round_trip(
    text: str, outputs: set[str], cap: int, standing: Any
) -> None:
    mandate = make_mandate(
        purpose=text, legal_basis=text, outputs=outputs, max_rows_total=cap, standing=standing
    )
    assert parse_mandate(mandate.document()) == mandate


actions = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "charge", "release", "cancel"]),
        st.integers(0, 3),
        st.integers(0, 40),
        st.integers(0, 2),
    ),
    max_size=25,
)


@given(actions)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_budget_is_never_exceeded_and_charged_rows_never_shrink(
    actions: list[tuple[str, int, int, int]],
) -> None:
    mandate = make_mandate(max_rows_total=60, max_exchanges=3)
    with tempfile.TemporaryDirectory() as folder, Budget(Path(folder) / "state.db") as budget:
        charged: dict[int, int] = {}
        for action, exchange, rows, index in actions:
            exchange_id = bytes([exchange]) * 32
            try:
                if action == "reserve":
                    reserve(budget, exchange_id, mandate, rows)
                elif action == "charge":
                    digest = bytes([index, rows]) + bytes(30)
                    charge = budget.charge(exchange_id, index, rows, digest, bytes(32), b"s")
                    if not charge.repeated:
                        charged[exchange] = charged.get(exchange, 0) + rows
                else:
                    getattr(budget, action)(exchange_id)
            except (AuthorisationError, ProtocolError):
                pass
            usage = budget.usage(mandate.id)
            assert sum(charged.values()) <= usage.rows <= 60
            assert usage.exchanges <= 3
            for known, total in charged.items():
                assert budget.last_frame(bytes([known]) * 32).rows == total


@given(st.lists(st.sampled_from([0, 1, 2, 3, 4]), max_size=6), st.integers(0, 40))
@settings(max_examples=60)
def test_lists_that_follow_each_other_lose_nothing_that_still_matters(
    withdrawn: list[int], days_between: int
) -> None:
    mandates = [make_mandate(not_after=NOW + timedelta(days=10 * n + 1)) for n in range(5)]
    time, held = NOW, None
    for chosen in withdrawn:
        time += timedelta(days=days_between)
        data = sign_revocations(revoke(held, ISSUER, [mandates[chosen]], now=time), SIGNERS.issuer)
        new = verify_revocations(data, SIGNERS.issuer.public_key)
        assert new.revokes(mandates[chosen].id)
        assert held is None or (new.keeps(held) and new.sequence == held.sequence + 1)
        held = new


@given(st.binary(min_size=1, max_size=60), st.integers(0, 2_000))
def test_a_changed_revocation_list_is_refused(change: bytes, position: int) -> None:
    data = sign_revocations(revoke(None, ISSUER, [make_mandate()], now=NOW), SIGNERS.issuer)
    at = position % len(data)
    altered = data[:at] + change + data[at + len(change) :]
    if altered != data:
        with pytest.raises(PsishareError):
            verify_revocations(altered, SIGNERS.issuer.public_key)
