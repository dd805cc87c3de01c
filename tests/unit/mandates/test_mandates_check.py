"""Which request a mandate covers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from mandate_examples import AUTHORITY, NOW, PLATFORM, make_mandate, make_request

from psishare.errors import AuthorisationError, ExitCode
from psishare.mandates.check import Delivery, check_delivery, check_mandate

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
TOLERANCE = timedelta(seconds=300)


def test_mandate_covers_its_own_request() -> None:
    check_mandate(make_mandate(), make_request(), now=NOW)


def test_mandate_without_datasets_covers_any_of_its_kinds() -> None:
    mandate = make_mandate(datasets=[])
    check_mandate(mandate, make_request(dataset="other"), now=NOW)
    check_mandate(mandate, make_request(dataset=None), now=NOW)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"authority": "police.example/unit-4"}, "mandate_other_authority"),
        ({"platform": "bank.example"}, "mandate_other_platform"),
        ({"dataset": "employees"}, "mandate_other_dataset"),
        ({"dataset": None}, "mandate_other_dataset"),
        ({"kind": "iban"}, "mandate_other_kind"),
        ({"output": "both"}, "mandate_other_output"),
        ({"protocol": "openmined"}, "mandate_other_protocol"),
        ({"rows": 1_001}, "mandate_over_rows"),
    ],
)
def test_platform_refuses_what_the_mandate_does_not_cover(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(AuthorisationError) as caught:
        check_mandate(make_mandate(), make_request(**changes), now=NOW)
    assert caught.value.reason == reason
    assert caught.value.exit_code is ExitCode.REFUSED


def test_platform_refuses_expired_mandate() -> None:
    with pytest.raises(AuthorisationError) as caught:
        check_mandate(make_mandate(), make_request(), now=NOW + 31 * DAY)
    assert caught.value.reason == "mandate_expired"


def test_platform_refuses_mandate_that_is_not_yet_valid() -> None:
    with pytest.raises(AuthorisationError) as caught:
        check_mandate(make_mandate(), make_request(), now=NOW - 2 * DAY)
    assert caught.value.reason == "mandate_not_yet_valid"


def test_clock_tolerance_holds_to_the_second_at_both_ends() -> None:
    mandate, request = make_mandate(), make_request()
    first, last = mandate.not_before - TOLERANCE, mandate.not_after + TOLERANCE
    check_mandate(mandate, request, now=first)
    check_mandate(mandate, request, now=last)
    for outside in (first - SECOND, last + SECOND):
        with pytest.raises(AuthorisationError):
            check_mandate(mandate, request, now=outside)


def test_clock_tolerance_can_be_none() -> None:
    mandate = make_mandate()
    with pytest.raises(AuthorisationError):
        check_mandate(mandate, make_request(), now=mandate.not_after + SECOND, clock_tolerance_s=0)


def test_mandate_to_the_end_of_the_calendar_is_checked() -> None:
    mandate = make_mandate(not_after=NOW.replace(year=9999, month=12, day=31))
    check_mandate(mandate, make_request(), now=NOW)


def delivery(**changes: Any) -> Delivery:
    fields: dict[str, Any] = {
        "authority": AUTHORITY,
        "platform": PLATFORM,
        "dataset": "customers",
        "kind": "phone",
        "newer": False,
    }
    return Delivery(**(fields | changes))


def test_mandate_in_force_covers_a_first_delivery() -> None:
    check_delivery(make_mandate(), delivery(), now=NOW)


def test_only_a_standing_mandate_covers_a_newer_delivery() -> None:
    check_delivery(make_mandate(standing=True), delivery(newer=True), now=NOW)
    with pytest.raises(AuthorisationError) as caught:
        check_delivery(make_mandate(), delivery(newer=True), now=NOW)
    assert caught.value.reason == "mandate_not_standing"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"authority": "police.example/unit-4"}, "mandate_other_authority"),
        ({"platform": "bank.example"}, "mandate_other_platform"),
        ({"dataset": "employees"}, "mandate_other_dataset"),
        ({"kind": "iban"}, "mandate_other_kind"),
    ],
)
def test_platform_refuses_delivery_that_the_mandate_does_not_cover(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(AuthorisationError) as caught:
        check_delivery(make_mandate(), delivery(**changes), now=NOW)
    assert caught.value.reason == reason


def test_delivery_needs_a_mandate_for_oprf_in_force() -> None:
    with pytest.raises(AuthorisationError) as caught:
        check_delivery(make_mandate(protocols=["ecdh"]), delivery(), now=NOW)
    assert caught.value.reason == "mandate_other_protocol"
    with pytest.raises(AuthorisationError) as caught:
        check_delivery(make_mandate(), delivery(), now=NOW + 31 * DAY)
    assert caught.value.reason == "mandate_expired"
