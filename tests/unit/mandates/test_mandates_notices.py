"""Emergencies and successions: what refuses a mandate that verifies."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from mandate_examples import (
    AUTHORITY,
    ISSUER,
    NOW,
    PLATFORM,
    VALIDATOR,
    Signers,
    make_mandate,
)

from psishare.errors import AuthorisationError
from psishare.keys.signer import Ed25519Signer
from psishare.mandates.draft import Grounds
from psishare.mandates.envelope import (
    TrustedKeys,
    VerifiedMandate,
    new_envelope,
    sign_envelope,
    verify_envelope,
)
from psishare.mandates.notices import Notices
from psishare.mandates.policy import Emergency, Policy
from psishare.mandates.revocation import revoke, sign_revocations

if TYPE_CHECKING:
    from pathlib import Path

HOUR = timedelta(hours=1)
TOLERANCE = timedelta(seconds=300)
EMERGENCY = Grounds("danger to life", NOW + 48 * HOUR)
ALLOWING = Policy(emergency=Emergency(allowed=True))


@pytest.fixture
def signers() -> Signers:
    return Signers()


@pytest.fixture
def notices(tmp_path: Path) -> Notices:
    return Notices(tmp_path, PLATFORM)


def verified(signers: Signers, **changes: Any) -> VerifiedMandate:
    return verify_envelope(signers.sign(make_mandate(**changes)), signers.trusted)


def unvalidated(signers: Signers, **changes: Any) -> VerifiedMandate:
    mandate = make_mandate(**({"emergency": EMERGENCY} | changes))
    data = sign_envelope(new_envelope(mandate), signers.issuer, party=ISSUER)
    return verify_envelope(data, signers.trusted, allow_unvalidated=True)


def refused(
    notices: Notices, signers: Signers, mandate: VerifiedMandate, policy: Policy, now: Any = NOW
) -> str:
    with pytest.raises(AuthorisationError) as caught:
        notices.require_in_force(mandate, signers.trusted, policy, now=now)
    return caught.value.reason


# Emergencies.


def test_one_signature_is_enough_only_for_an_emergency_and_only_where_asked_for(
    signers: Signers,
) -> None:
    for emergency, allowed in ((None, True), (EMERGENCY, False)):
        mandate = make_mandate(emergency=emergency)
        data = sign_envelope(new_envelope(mandate), signers.issuer, party=ISSUER)
        with pytest.raises(AuthorisationError) as caught:
            verify_envelope(data, signers.trusted, allow_unvalidated=allowed)
        assert caught.value.reason == "mandate_unsigned"


def test_the_validator_s_signature_alone_is_never_enough(signers: Signers) -> None:
    mandate = make_mandate(emergency=EMERGENCY)
    data = sign_envelope(new_envelope(mandate), signers.validator, party=VALIDATOR)
    with pytest.raises(AuthorisationError) as caught:
        verify_envelope(data, signers.trusted, allow_unvalidated=True)
    assert caught.value.reason == "mandate_unsigned"


def test_a_stranger_s_signature_does_not_stand_in_for_the_validator_s(signers: Signers) -> None:
    mandate = make_mandate(emergency=EMERGENCY)
    data = sign_envelope(new_envelope(mandate), signers.issuer, party=ISSUER)
    data = sign_envelope(data, Ed25519Signer.generate(), party=VALIDATOR)
    with pytest.raises(AuthorisationError) as caught:
        verify_envelope(data, signers.trusted, allow_unvalidated=True)
    assert caught.value.reason == "mandate_signature_unknown"


def test_an_emergency_still_needs_a_validator_that_is_trusted(signers: Signers) -> None:
    mandate = make_mandate(emergency=EMERGENCY)
    data = sign_envelope(new_envelope(mandate), signers.issuer, party=ISSUER)
    with pytest.raises(AuthorisationError) as caught:
        verify_envelope(data, TrustedKeys(signers.trusted.issuers, {}), allow_unvalidated=True)
    assert caught.value.reason == "mandate_validator_untrusted"


def test_an_emergency_is_refused_unless_the_policy_allows_it(
    notices: Notices, signers: Signers
) -> None:
    assert refused(notices, signers, unvalidated(signers), Policy()) == "policy_emergency"
    notices.require_in_force(unvalidated(signers), signers.trusted, ALLOWING, now=NOW)


def test_an_emergency_is_refused_once_its_validation_is_overdue(
    notices: Notices, signers: Signers
) -> None:
    mandate = unvalidated(signers)
    last = EMERGENCY.until + TOLERANCE
    notices.require_in_force(mandate, signers.trusted, ALLOWING, now=last)
    late = last + timedelta(seconds=1)
    assert refused(notices, signers, mandate, ALLOWING, late) == "mandate_validation_overdue"


def test_an_emergency_that_is_validated_is_a_mandate_as_any_other(
    notices: Notices, signers: Signers
) -> None:
    mandate = verified(signers, emergency=EMERGENCY)
    assert mandate.validated
    late = EMERGENCY.until + 1000 * HOUR
    notices.require_in_force(mandate, signers.trusted, Policy(), now=late)
    assert mandate.payload_sha256 != mandate.envelope_sha256


def test_validation_leaves_the_mandate_the_same(signers: Signers) -> None:
    mandate = make_mandate(emergency=EMERGENCY)
    once = sign_envelope(new_envelope(mandate), signers.issuer, party=ISSUER)
    twice = sign_envelope(once, signers.validator, party=VALIDATOR)
    before = verify_envelope(once, signers.trusted, allow_unvalidated=True)
    after = verify_envelope(twice, signers.trusted)
    assert before.payload_sha256 == after.payload_sha256
    assert (before.validated, after.validated) == (False, True)


# The validator's role.


@pytest.mark.parametrize("role", ["court", "prosecutor", "officer"])
def test_a_validator_that_is_no_judge_is_refused_where_one_is_demanded(
    notices: Notices, signers: Signers, role: str
) -> None:
    policy = Policy(validator_roles=frozenset({"judge"}))
    mandate = verified(signers, validator_role=role)
    assert refused(notices, signers, mandate, policy) == "policy_validator_role"
    notices.require_in_force(verified(signers), signers.trusted, policy, now=NOW)


# Successions.


def test_a_superseded_mandate_is_refused_once_its_successor_is_seen(
    notices: Notices, signers: Signers, tmp_path: Path
) -> None:
    old = verified(signers)
    notices.require_in_force(old, signers.trusted, Policy(), now=NOW)
    new = verified(signers, supersedes=old.mandate.id)
    notices.learn(new, signers.trusted)
    assert refused(notices, signers, old, Policy()) == "mandate_superseded"
    assert refused(Notices(tmp_path, PLATFORM), signers, old, Policy()) == "mandate_superseded"
    notices.require_in_force(new, signers.trusted, Policy(), now=NOW)


def test_another_issuer_supersedes_nothing(notices: Notices, signers: Signers) -> None:
    old = verified(signers)
    other = make_mandate(issuer="customs.example", supersedes=old.mandate.id)
    trusted = TrustedKeys(
        {"customs.example": signers.issuer.public_key}, signers.trusted.validators
    )
    notices.learn(verify_envelope(signers.sign(other), trusted), trusted)
    notices.require_in_force(old, signers.trusted, Policy(), now=NOW)


def test_a_successor_for_others_supersedes_nothing(notices: Notices, signers: Signers) -> None:
    old = verified(signers)
    new = verified(signers, supersedes=old.mandate.id, platform="bank.example")
    notices.learn(new, signers.trusted)
    notices.require_in_force(old, signers.trusted, Policy(), now=NOW)


def test_an_authority_learns_of_successors_too(tmp_path: Path, signers: Signers) -> None:
    notices, old = Notices(tmp_path, AUTHORITY), verified(signers)
    notices.learn(verified(signers, supersedes=old.mandate.id), signers.trusted)
    assert refused(notices, signers, old, Policy()) == "mandate_superseded"


def test_a_successor_that_its_validator_has_not_signed_supersedes_nothing(
    notices: Notices, signers: Signers
) -> None:
    old = verified(signers)
    notices.learn(unvalidated(signers, supersedes=old.mandate.id), signers.trusted)
    notices.require_in_force(old, signers.trusted, Policy(), now=NOW)


def test_a_revoked_successor_supersedes_nothing(notices: Notices, signers: Signers) -> None:
    old = verified(signers)
    new = verified(signers, supersedes=old.mandate.id)
    revocations = revoke(None, ISSUER, [new.mandate], now=NOW)
    data = sign_revocations(revocations, signers.issuer)
    notices.revocations.take(data, signers.trusted, now=NOW)
    notices.learn(new, signers.trusted)
    notices.require_in_force(old, signers.trusted, Policy(), now=NOW)
