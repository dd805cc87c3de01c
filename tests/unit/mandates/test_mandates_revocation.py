"""Revocation lists: signed by their party, never older, never shorter, fail closed where too old."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from mandate_examples import ISSUER, NOW, VALIDATOR, Signers, make_mandate

from psishare.errors import AuthorisationError, InputError, PsishareError, VerificationError
from psishare.keys import canonical
from psishare.keys.signer import Ed25519Signer
from psishare.mandates.envelope import TrustedKeys
from psishare.mandates.policy import MAX_CLOCK_TOLERANCE_S
from psishare.mandates.revocation import (
    RevocationList,
    is_revocations,
    read_revocations,
    revoke,
    sign_revocations,
    verify_revocations,
)
from psishare.mandates.revocation_folder import RevocationFolder

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.mandates.mandate import Mandate

DAY = timedelta(days=1)


@pytest.fixture
def folder(tmp_path: Path) -> RevocationFolder:
    return RevocationFolder(tmp_path)


@pytest.fixture
def signers() -> Signers:
    return Signers()


def a_list(*mandates: Mandate, after: RevocationList | None = None, **more: Any) -> RevocationList:
    party = more.get("party", ISSUER)
    return revoke(after, party, mandates, now=more.get("now", NOW))


def take(
    folder: RevocationFolder, signers: Signers, revocations: RevocationList, *, now: Any = NOW
) -> bool:
    signer = signers.issuer if revocations.party == ISSUER else signers.validator
    return folder.take(sign_revocations(revocations, signer), signers.trusted, now=now)


def refused(
    folder: RevocationFolder,
    signers: Signers,
    mandate: Mandate,
    *,
    max_age: timedelta | None = DAY,
    now: Any = NOW,
) -> str:
    with pytest.raises(AuthorisationError) as caught:
        folder.require_not_revoked(mandate, signers.trusted, now=now, max_age=max_age)
    return caught.value.reason


def test_a_list_survives_signing_and_reading(signers: Signers) -> None:
    revocations = a_list(make_mandate(), make_mandate())
    data = sign_revocations(revocations, signers.issuer)
    assert is_revocations(data)
    assert verify_revocations(data, signers.issuer.public_key) == revocations
    assert not is_revocations(signers.sign(make_mandate()))


def test_a_list_signed_by_another_key_is_refused(signers: Signers) -> None:
    data = sign_revocations(a_list(), Ed25519Signer.generate())
    with pytest.raises(VerificationError) as caught:
        verify_revocations(data, signers.issuer.public_key)
    assert caught.value.reason == "signature_invalid"


@pytest.mark.parametrize("position", range(0, 400, 7))
def test_any_changed_byte_of_a_list_is_refused(signers: Signers, position: int) -> None:
    data = bytearray(sign_revocations(a_list(make_mandate()), signers.issuer))
    data[position % len(data)] ^= 1
    with pytest.raises(VerificationError):
        verify_revocations(bytes(data), signers.issuer.public_key)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"revocations":{},"signature":""}', b'{"revocations":[],"signature":1}']
)
def test_what_is_no_list_is_refused(data: bytes) -> None:
    with pytest.raises(VerificationError) as caught:
        read_revocations(data)
    assert caught.value.reason == "revocations_malformed"


def test_a_list_is_sorted_and_names_nothing_twice(signers: Signers) -> None:
    fields = a_list(make_mandate(), make_mandate()).model_dump(mode="json")
    for revoked in (fields["revoked"][::-1], fields["revoked"][:1] * 2):
        document = {"revocations": fields | {"revoked": revoked}, "signature": ""}
        with pytest.raises(VerificationError):
            read_revocations(canonical.dumps(document))


def test_the_next_list_has_a_higher_sequence_and_everything_that_has_not_run_out() -> None:
    short, long = make_mandate(not_after=NOW + DAY), make_mandate(not_after=NOW + 9 * DAY)
    first = a_list(short, long)
    second = a_list(make_mandate(), after=first, now=NOW + 4 * DAY)
    assert (first.sequence, second.sequence) == (1, 2)
    assert second.revokes(long.id)
    assert not second.revokes(short.id)
    assert second.keeps(first)


def test_a_renewed_list_names_a_mandate_until_no_clock_tolerance_revives_it(
    folder: RevocationFolder, signers: Signers
) -> None:
    mandate = make_mandate(not_after=NOW + DAY)
    first = a_list(mandate)
    take(folder, signers, first)
    # The platform that is furthest behind takes the mandate until a day after its end by its own clock,
    # and a list that was issued a day ahead of that.
    tolerance = timedelta(seconds=MAX_CLOCK_TOLERANCE_S)
    last = mandate.not_after + tolerance
    renewed = a_list(after=first, now=last + tolerance)
    assert take(folder, signers, renewed, now=last + tolerance)
    assert refused(folder, signers, mandate, now=last) == "mandate_revoked"
    dropped = renewed.model_copy(update={"sequence": 3, "revoked": ()})
    with pytest.raises(VerificationError) as caught:
        take(folder, signers, dropped, now=last + tolerance)
    assert caught.value.reason == "revocations_incomplete"
    assert not a_list(after=renewed, now=last + tolerance + timedelta(seconds=1)).revoked


def test_revoking_again_keeps_the_first_time() -> None:
    mandate = make_mandate()
    first = a_list(mandate)
    second = a_list(mandate, after=first, now=NOW + DAY)
    assert second.revoked == first.revoked


def test_a_clock_that_was_set_back_makes_no_older_list() -> None:
    first = a_list()
    assert a_list(after=first, now=NOW - DAY).issued == first.issued


def test_a_party_revokes_only_its_own_mandates() -> None:
    with pytest.raises(InputError) as caught:
        a_list(make_mandate(), party="customs.example")
    assert caught.value.reason == "mandate_not_ours"


@pytest.mark.parametrize("party", [ISSUER, VALIDATOR])
def test_issuer_and_validator_can_each_revoke(
    folder: RevocationFolder, signers: Signers, party: str
) -> None:
    mandate, other = make_mandate(), make_mandate()
    assert take(folder, signers, a_list(mandate, party=party))
    assert refused(folder, signers, mandate, max_age=None) == "mandate_revoked"
    folder.require_not_revoked(other, signers.trusted, now=NOW, max_age=None)


def test_a_list_of_a_third_party_revokes_nothing(
    folder: RevocationFolder, signers: Signers
) -> None:
    mandate, third = make_mandate(), Ed25519Signer.generate()
    fields = a_list(mandate).model_dump(mode="json") | {"party": "customs.example"}
    revocations = RevocationList.model_validate_json(canonical.dumps(fields))
    data = sign_revocations(revocations, third)
    trusted = TrustedKeys(
        signers.trusted.issuers | {"customs.example": third.public_key},  # type: ignore[operator]
        signers.trusted.validators,
    )
    assert folder.take(data, trusted, now=NOW)
    folder.require_not_revoked(mandate, trusted, now=NOW, max_age=None)


def test_an_older_list_is_refused_after_a_newer_one(
    folder: RevocationFolder, signers: Signers
) -> None:
    mandate = make_mandate()
    first = a_list()
    second = a_list(mandate, after=first)
    assert take(folder, signers, second)
    with pytest.raises(VerificationError) as caught:
        take(folder, signers, first)
    assert caught.value.reason == "revocations_older"
    assert refused(folder, signers, mandate) == "mandate_revoked"


def test_the_same_list_again_changes_nothing(folder: RevocationFolder, signers: Signers) -> None:
    revocations = a_list()
    assert take(folder, signers, revocations)
    assert not take(folder, signers, revocations)


def test_another_list_of_the_same_number_is_refused(
    folder: RevocationFolder, signers: Signers
) -> None:
    take(folder, signers, a_list(make_mandate()))
    with pytest.raises(VerificationError) as caught:
        take(folder, signers, a_list(make_mandate()))
    assert caught.value.reason == "revocations_older"


def test_what_was_revoked_never_comes_back(folder: RevocationFolder, signers: Signers) -> None:
    first = a_list(make_mandate())
    take(folder, signers, first)
    emptied = a_list(after=first).model_copy(update={"revoked": ()})
    with pytest.raises(VerificationError) as caught:
        take(folder, signers, emptied)
    assert caught.value.reason == "revocations_incomplete"


def test_a_list_of_the_future_is_refused(folder: RevocationFolder, signers: Signers) -> None:
    with pytest.raises(VerificationError) as caught:
        take(folder, signers, a_list(now=NOW + DAY))
    assert caught.value.reason == "revocations_future"


def test_a_list_of_a_party_that_is_not_trusted_is_refused(
    folder: RevocationFolder, signers: Signers
) -> None:
    data = sign_revocations(a_list(), signers.issuer)
    with pytest.raises(VerificationError) as caught:
        folder.take(data, TrustedKeys({}, {}), now=NOW)
    assert caught.value.reason == "revocations_untrusted"


def test_no_list_is_needed_where_the_platform_does_not_insist(
    folder: RevocationFolder, signers: Signers
) -> None:
    folder.require_not_revoked(make_mandate(), signers.trusted, now=NOW, max_age=None)


def test_a_missing_list_of_the_issuer_refuses_every_mandate(
    folder: RevocationFolder, signers: Signers
) -> None:
    assert refused(folder, signers, make_mandate()) == "mandate_revocations_stale"
    take(folder, signers, a_list())
    folder.require_not_revoked(make_mandate(), signers.trusted, now=NOW, max_age=DAY)


@pytest.mark.parametrize("stale", [ISSUER, VALIDATOR])
def test_a_list_too_old_refuses_every_mandate(
    folder: RevocationFolder, signers: Signers, stale: str
) -> None:
    for party in (ISSUER, VALIDATOR):
        issued = NOW - 2 * DAY if party == stale else NOW
        take(folder, signers, a_list(party=party, now=issued))
    assert refused(folder, signers, make_mandate()) == "mandate_revocations_stale"
    folder.require_not_revoked(make_mandate(), signers.trusted, now=NOW, max_age=2 * DAY)


def test_a_list_that_was_put_there_by_hand_counts_for_nothing(
    folder: RevocationFolder, signers: Signers, tmp_path: Path
) -> None:
    take(folder, signers, a_list())
    (held,) = tmp_path.glob("*.revocations")
    held.write_bytes(sign_revocations(a_list(), Ed25519Signer.generate()))
    assert refused(folder, signers, make_mandate(), max_age=None) == "mandate_revocations_stale"


def test_a_damaged_list_is_replaced_by_the_next_good_one(
    folder: RevocationFolder, signers: Signers, tmp_path: Path
) -> None:
    take(folder, signers, a_list())
    (held,) = tmp_path.glob("*.revocations")
    held.write_bytes(b"damaged")
    assert refused(folder, signers, make_mandate(), max_age=None) == "mandate_revocations_stale"
    assert take(folder, signers, a_list())
    folder.require_not_revoked(make_mandate(), signers.trusted, now=NOW, max_age=DAY)


def test_a_list_in_the_place_of_another_party_s_counts_for_nothing(
    folder: RevocationFolder, signers: Signers, tmp_path: Path
) -> None:
    take(folder, signers, a_list())
    (held,) = tmp_path.glob("*.revocations")
    held.write_bytes(sign_revocations(a_list(party=VALIDATOR), signers.validator))
    assert refused(folder, signers, make_mandate(), max_age=None) == "mandate_revocations_stale"


def test_a_newer_list_is_heeded_by_whoever_has_read_the_older(
    folder: RevocationFolder, signers: Signers, tmp_path: Path
) -> None:
    mandate, running = make_mandate(), RevocationFolder(tmp_path)
    first = a_list()
    take(folder, signers, first)
    running.require_not_revoked(mandate, signers.trusted, now=NOW, max_age=DAY)
    take(folder, signers, a_list(mandate, after=first))
    assert refused(running, signers, mandate) == "mandate_revoked"


def test_a_party_keeps_its_own_newest_list(folder: RevocationFolder, signers: Signers) -> None:
    assert folder.own(ISSUER) is None
    first = a_list(make_mandate())
    folder.keep_own(ISSUER, sign_revocations(first, signers.issuer))
    assert folder.own(ISSUER) == first


def test_a_refusal_is_one_of_ours(folder: RevocationFolder, signers: Signers) -> None:
    for data in (b"\x00" * 40, b"[]", b'{"revocations":{"party":7},"signature":"AA=="}'):
        with pytest.raises(PsishareError):
            folder.take(data, signers.trusted, now=NOW)
