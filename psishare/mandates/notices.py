"""What has become known of mandates since they were signed: revocations, successors, validations.

A mandate that verifies and covers what is asked is still refused where one of these stands against it.
Source: protocols/specs/mandate.md, section 6, rules 11 to 16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.errors import ConfigError, VerificationError
from psishare.mandates.check import check_validation
from psishare.mandates.envelope import require_still_trusted
from psishare.mandates.revocation_folder import RevocationFolder
from psishare.mandates.succession import Successions

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from psishare.mandates.envelope import TrustedKeys, VerifiedMandate
    from psishare.mandates.mandate import Mandate
    from psishare.mandates.policy import Policy


class Notices:
    """What is known here, in a party's folder of mandates; shared by the processes of one host.

    Args:
        path: the folder; it exists.
        party: whose home it is.
    """

    def __init__(self, path: Path, party: str) -> None:
        self._party = party
        self.revocations = RevocationFolder(path)
        self._successions = Successions(path)

    def learn(self, verified: VerifiedMandate, trusted: TrustedKeys) -> None:
        """Remember that a mandate supersedes another, where it does so rightly.

        It must be signed by issuer and validator, addressed to or from this party, and not revoked.

        Raises:
            AuditError: ``state_write_failed``.
        """
        mandate = verified.mandate
        ours = self._party in {mandate.platform, mandate.authority}
        if mandate.supersedes is None or not ours or not verified.validated:
            return
        if not self._is_revoked(mandate, trusted):
            self._successions.note(mandate)

    def require_in_force(
        self, verified: VerifiedMandate, trusted: TrustedKeys, policy: Policy, *, now: datetime
    ) -> None:
        """Refuse a mandate whose parties are trusted no more, or that is unvalidated, revoked, superseded.

        Raises:
            AuthorisationError: ``mandate_issuer_untrusted``, ``mandate_validator_untrusted``,
                ``policy_validator_role``, ``policy_emergency``,
                ``mandate_validation_overdue``, ``mandate_revoked``, ``mandate_revocations_stale`` or
                ``mandate_superseded``: the first rule that fails.
        """
        require_still_trusted(verified, trusted)
        policy.require_validator_role(verified.mandate)
        check_validation(
            verified,
            allow_emergency=policy.emergency.allowed,
            now=now,
            clock_tolerance_s=policy.clock_tolerance_s,
        )
        self.revocations.require_not_revoked(
            verified.mandate, trusted, now=now, max_age=policy.revocation_max_age
        )
        self._successions.require_not_superseded(verified.mandate)

    def _is_revoked(self, mandate: Mandate, trusted: TrustedKeys) -> bool:
        try:
            return self.revocations.revoker(mandate, trusted) is not None
        except (ConfigError, VerificationError):
            # A list that cannot be read keeps no succession from counting.
            return False
