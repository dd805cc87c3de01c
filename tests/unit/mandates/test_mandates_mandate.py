"""The mandate's document, its case reference and drafting."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from mandate_examples import ISSUER, NOW, make_mandate

from psishare.errors import AuthorisationError, InputError, VerificationError
from psishare.keys import canonical, sealing
from psishare.keys.sealing import SealingKey
from psishare.mandates.case_reference import CaseReference
from psishare.mandates.mandate import Mandate, parse_mandate


def refused(document: dict[str, Any]) -> str:
    with pytest.raises(AuthorisationError) as caught:
        parse_mandate(canonical.dumps(document))
    return caught.value.reason


def fields() -> dict[str, Any]:
    return make_mandate().model_dump(mode="json")


def of_version_1() -> dict[str, Any]:
    document = fields() | {"version": 1}
    del document["erase_by"]
    return document


def test_mandate_survives_its_round_trip() -> None:
    mandate = make_mandate(court_sealing_key=SealingKey.generate().public_key, standing=True)
    assert parse_mandate(mandate.document()) == mandate


def test_mandate_has_exactly_the_fields_of_the_specification() -> None:
    assert set(fields()) == set(Mandate.model_fields)
    assert len(Mandate.model_fields) == 32


@pytest.mark.parametrize("name", sorted(Mandate.model_fields))
def test_mandate_refuses_a_missing_field(name: str) -> None:
    document = fields()
    del document[name]
    assert refused(document) in {"mandate_malformed", "mandate_version"}


def test_mandate_refuses_an_unknown_field() -> None:
    assert refused(fields() | {"comment": "hello"}) == "mandate_malformed"


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_mandate_refuses_another_version(version: object) -> None:
    assert refused(fields() | {"version": version}) == "mandate_version"


def test_mandate_refuses_true_as_its_version() -> None:
    assert refused(fields() | {"version": True}) == "mandate_version"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("emergency", {"deadline": "2026-08-02T00:00:00Z"}),
        ("delayed_notification", True),
        ("supersedes", "a" * 32),
        ("sealed_request", {}),
        ("input_commitment", "00" * 32),
    ],
)
def test_a_mandate_of_version_1_cannot_name_rules_that_its_readers_pass_over(
    name: str, value: object
) -> None:
    assert refused(of_version_1() | {name: value}) == "mandate_field_unsupported"


def test_a_mandate_of_version_1_is_read_and_written_as_it_was() -> None:
    document = canonical.dumps(of_version_1())
    mandate = parse_mandate(document)
    assert (mandate.version, mandate.erase_by) == (1, None)
    assert mandate.document() == document


def test_a_version_has_its_own_fields_and_no_others() -> None:
    assert refused(of_version_1() | {"erase_by": None}) == "mandate_malformed"
    assert refused(of_version_1() | {"version": 2}) == "mandate_malformed"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "short"),
        ("id", "x" * 65),
        ("id", "x" * 31 + "/"),
        ("issuer", "Police"),
        ("issuer", "psishare/police"),
        ("issuer", "-police"),
        ("issuer", "a" * 65),
        ("validator_role", "clerk"),
        ("kinds", []),
        ("kinds", ["phone", "email"]),
        ("kinds", ["email", "email"]),
        ("kinds", "email"),
        ("kinds", ["E-mail"]),
        ("outputs", []),
        ("outputs", ["everything"]),
        ("outputs", ["matches", "count"]),
        ("protocols", ["kkrt"]),
        ("datasets", ["../customers"]),
        ("max_rows_per_exchange", 0),
        ("max_rows_total", -1),
        ("max_exchanges", True),
        ("max_exchanges", "10"),
        ("standing", 1),
        ("legal_basis", ""),
        ("legal_basis", "x" * 513),
        ("purpose", "line\nbreak"),
        ("purpose", "over\u202eride"),
        ("purpose", " leading space"),
        ("jurisdiction", "\x1b[31mred"),
        ("case_commitment", "AB" * 32),
        ("case_commitment", "ab" * 31),
        ("attachment_sha256", ""),
        ("created", "2026-08-01T12:00:00.0Z"),
        ("created", "2026-08-01T12:00:00+00:00"),
        ("created", "2026-8-1T12:00:00Z"),
        ("not_before", "2026-02-30T12:00:00Z"),
        ("not_before", "0026-02-20T12:00:00Z"),
        ("not_after", 1_785_585_600),
        ("erase_by", "2026-08-01T12:00:00Z"),
        ("supersedes", "short"),
        ("emergency", {}),
        ("emergency", {"ground": "danger", "validate_by": "2026-07-01T12:00:00Z"}),
        ("emergency", {"ground": "", "validate_by": "2026-08-02T12:00:00Z"}),
        ("emergency", {"ground": "danger", "validate_by": "2026-08-02T12:00:00Z", "by": "me"}),
        ("delayed_notification", {"ground": "danger", "until": "2026-07-01T12:00:00Z"}),
        ("delayed_notification", True),
        ("court_sealing_key", "AAAA"),
        ("court_sealing_key", "not base64"),
        ("court_sealing_key", base64.b64encode(bytes([255]) * 1_216).decode()),
    ],
)
def test_mandate_refuses_a_wrong_field(name: str, value: object) -> None:
    assert refused(fields() | {name: value}) == "mandate_malformed"


def test_mandate_refuses_an_end_before_its_beginning() -> None:
    assert refused(fields() | {"not_after": fields()["not_before"]}) == "mandate_malformed"


def test_mandate_refuses_a_retention_that_ends_before_it_does() -> None:
    assert refused(fields() | {"retention_until": fields()["not_before"]}) == "mandate_malformed"


def test_mandate_refuses_to_supersede_itself() -> None:
    document = fields()
    assert refused(document | {"supersedes": document["id"]}) == "mandate_malformed"


def test_refusal_names_fields_and_never_their_values() -> None:
    document = fields() | {"purpose": "sentinel\n", "sentinel_field": 1}
    with pytest.raises(AuthorisationError) as caught:
        parse_mandate(canonical.dumps(document))
    assert "purpose" in caught.value.message
    assert "sentinel" not in caught.value.diagnostics()
    assert caught.value.__cause__ is None


def test_mandate_allows_joiners_in_plain_text() -> None:
    assert make_mandate(purpose="می\u200cخواهم").purpose == "می\u200cخواهم"


def test_draft_sorts_and_deduplicates_lists() -> None:
    mandate = make_mandate(kinds=["phone", "email", "phone"])
    assert mandate.kinds == ("email", "phone")


def test_draft_gives_every_mandate_an_id_of_its_own() -> None:
    assert make_mandate().id != make_mandate().id


def test_draft_writes_times_in_utc_and_whole_seconds() -> None:
    later = datetime(2026, 9, 1, 2, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    mandate = make_mandate(not_after=later)
    assert mandate.not_after == datetime(2026, 9, 1, tzinfo=UTC)
    assert b'"not_after":"2026-09-01T00:00:00Z"' in mandate.document()


@pytest.mark.parametrize(
    "changes",
    [
        {"validator": ISSUER},
        {"kinds": []},
        {"max_exchanges": 0},
        {"not_after": NOW - timedelta(days=9)},
        {"now": NOW.replace(tzinfo=None)},
        {"validator_role": "nobody"},
        {"court_sealing_key": b"short"},
    ],
)
def test_draft_refuses_what_is_no_mandate(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        make_mandate(**changes)
    assert caught.value.reason == "mandate_invalid"


def test_case_reference_opens_under_the_key_it_was_sealed_to() -> None:
    key, case = SealingKey.generate(), CaseReference.new("K 7/2026")
    opened = CaseReference.open(case.seal(key.public_key), key, commitment=case.commitment)
    assert opened == case


def test_case_reference_does_not_open_for_another_mandate() -> None:
    key, case = SealingKey.generate(), CaseReference.new("K 7/2026")
    with pytest.raises(VerificationError):
        CaseReference.open(case.seal(key.public_key), key, commitment=bytes(32))


def test_case_reference_with_an_edited_reference_is_refused() -> None:
    key, case = SealingKey.generate(), CaseReference.new("K 7/2026")
    other = CaseReference("K 8/2026", case.salt)
    forged = _seal_as(other, key.public_key, case.commitment)
    with pytest.raises(VerificationError) as caught:
        CaseReference.open(forged, key, commitment=case.commitment)
    assert caught.value.reason == "case_reference_differs"


def _seal_as(case: CaseReference, public_key: bytes, commitment: bytes) -> bytes:
    document = canonical.dumps({"version": 1, "reference": case.reference, "salt": case.salt.hex()})
    return sealing.seal(public_key, document, info=b"psishare/case/v1", aad=commitment)


def test_one_case_has_another_commitment_in_every_mandate() -> None:
    assert CaseReference.new("K 7").commitment != CaseReference.new("K 7").commitment


def test_case_reference_prints_neither_reference_nor_salt() -> None:
    case = CaseReference.new("sentinel")
    assert "sentinel" not in repr(case)
    assert case.salt.hex() not in repr(case)


@pytest.mark.parametrize("reference", ["", "x" * 1025, "\ud800"])
def test_case_reference_refuses_what_is_none(reference: str) -> None:
    with pytest.raises(InputError):
        CaseReference.new(reference)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"datasets": ["Customers"]}, "a-z, 0-9, dots and hyphens"),
        ({"authority": "Police"}, "authority is a party id"),
        ({"kinds": ["Phone"]}, "psishare identifiers list"),
        ({"jurisdiction": ""}, "mandate.md"),
    ],
)
def test_draft_says_what_a_field_has_to_be(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(InputError) as caught:
        make_mandate(**changes)
    assert rule in caught.value.mend
    assert next(iter(changes)) in caught.value.message
