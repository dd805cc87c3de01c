"""What holds for every mandate, envelope and budget."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mandate_examples import NOW, Signers, make_mandate, make_request

from psishare.errors import AuthorisationError, ProtocolError
from psishare.mandates.budget import Budget
from psishare.mandates.check import check_mandate
from psishare.mandates.envelope import read_envelope, verify_envelope
from psishare.mandates.mandate import parse_mandate
from psishare.mandates.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable
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
    for parse in (read_envelope, parse_mandate):
        with pytest.raises(AuthorisationError):
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


requests = st.builds(
    make_request,
    authority=st.text(max_size=8),
    platform=st.text(max_size=8),
    protocol=st.text(max_size=8),
    dataset=st.none() | st.text(max_size=8),
    kind=st.text(max_size=8),
    output=st.text(max_size=8),
    rows=st.integers(0, 2**53 - 1),
)


def decision(decide: Callable[[], None]) -> str:
    """Return the reason of a refusal, or nothing."""
    try:
        decide()
    except AuthorisationError as refusal:
        return refusal.reason
    return ""


days = st.integers(-300_000, 2_900_000).map(lambda number: NOW + timedelta(days=number))


@given(requests, days, st.integers(0, 86_400))
def test_check_and_policy_are_total_and_deterministic(
    request: Request, now: datetime, tolerance_s: int
) -> None:
    mandate, policy = make_mandate(), Policy(min_rows=5, max_rows_per_exchange=50)
    checked = [
        decision(lambda: check_mandate(mandate, request, now=now, clock_tolerance_s=tolerance_s))
        for _ in range(2)
    ]
    decided = [decision(lambda: policy.decide(request)) for _ in range(2)]
    assert checked[0] == checked[1]
    assert not checked[0] or checked[0].startswith("mandate_")
    assert decided[0] == decided[1]
    assert not decided[0] or decided[0].startswith("policy_")


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
                    budget.reserve(exchange_id, mandate, rows=rows, kind="phone", opened_at=NOW)
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
