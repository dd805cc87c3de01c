"""The mandates that evidence is held against: each verified, and what was used of each.

Keys come from the cards that the verifier trusts. Whether an exchange was covered by its mandate is a
verdict, ``covers`` or the first rule that it broke.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from psishare.errors import AuthorisationError, VerificationError
from psishare.evidence.trust import trusted_card
from psishare.exchange.document import read_time
from psishare.exchange.transcript import Transcript
from psishare.mandates.check import CLOCK_TOLERANCE_S, check_mandate
from psishare.mandates.envelope import TrustedKeys, read_envelope, verify_envelope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from psishare.exchange.offer import Answer, Offer
    from psishare.mandates.envelope import VerifiedMandate
    from psishare.mandates.mandate import Mandate
    from psishare.parties.card import Card

REQUESTS = "requests"
COVERS = "covers"
NOT_SEEN = "not_seen"
"""The evidence does not hold the mandate."""
NOT_APPROVED = "sealed_request_differs"
"""Other frames were asked than the mandate approves."""
OVERDUE = "mandate_validation_overdue"
"""The exchange was an emergency, and its validator has not signed in time."""


@dataclass(slots=True)
class Use:
    """What was used of a mandate."""

    exchanges: int = 0
    rows: int = 0


class MandateBook:
    """Verified mandates, by the digest of their envelope.

    Args:
        trust: the cards that the verifier trusts, by party id.
        clock_tolerance_s: by how much the platform's clock may have differed.
        at: when the verifier looks: by then emergencies should have been validated; now if None.
    """

    def __init__(
        self,
        trust: Mapping[str, Card],
        *,
        clock_tolerance_s: int = CLOCK_TOLERANCE_S,
        at: datetime | None = None,
    ) -> None:
        self._trust = trust
        self._clock_tolerance_s = clock_tolerance_s
        self._at = at or datetime.now(UTC)
        self._mandates: dict[str, Mandate] = {}
        self._unvalidated: set[str] = set()
        self._validated_ids: set[str] = set()
        self._by_id: dict[str, Mandate] = {}
        self._uses: defaultdict[str, Use] = defaultdict(Use)

    def add_all(self, envelopes: Iterable[bytes]) -> None:
        """Verify mandates and keep them.

        Raises:
            VerificationError: one is malformed or not signed by its issuer and validator.
            ConfigError: the card of one of these is not among those that are trusted.
        """
        for envelope in envelopes:
            digest = hashlib.sha256(envelope).hexdigest()
            try:
                verified = self._verify(envelope)
                mandate = self._mandates[digest] = verified.mandate
                if verified.validated:
                    self._validated_ids.add(mandate.id)
                else:
                    self._unvalidated.add(digest)
                if self._by_id.setdefault(mandate.id, mandate) != mandate:
                    raise _id_reused(mandate)
            except AuthorisationError as error:
                raise VerificationError(
                    f"the mandate {digest[:12]}: {error.message}",
                    mend=error.mend,
                    reason=error.reason,
                    party=error.party,
                ) from error

    def get(self, sha256: str) -> Mandate | None:
        """Return a verified mandate by its envelope's digest, or None."""
        return self._mandates.get(sha256)

    def by_id(self, mandate_id: str) -> Mandate | None:
        """Return a verified mandate by its id, or None."""
        return self._by_id.get(mandate_id)

    def judge(self, offer: Offer, answer: Answer) -> str:
        """Return whether an exchange's mandate covers what was offered, when it was answered.

        One that its validator had not signed then must be there with that signature too, or the time
        for it must not be over.
        """
        mandate = self._mandates.get(offer.mandate_sha256)
        if mandate is None:
            return NOT_SEEN
        try:
            check_mandate(
                mandate,
                offer.request,
                now=read_time(answer.time),
                clock_tolerance_s=self._clock_tolerance_s,
            )
        except AuthorisationError as error:
            return error.reason
        if self._is_overdue(offer.mandate_sha256, mandate, read_time(answer.time)):
            return OVERDUE
        return self._count_exchange(mandate)

    def judge_requests(
        self, offer: Offer, frames: int, transcript: str | None, *, judged: str
    ) -> str:
        """Return the verdict on an exchange once its requests are known.

        Where the mandate names the frames that it approves, the transcript that was signed must be the
        chain over them, as far as it goes.

        Args:
            offer: the authority's document.
            frames: how many request frames the signed transcript covers.
            transcript: the transcript after the last of them, hexadecimal; None before the first.
            judged: what ``judge`` said.
        """
        mandate = self._mandates.get(offer.mandate_sha256)
        sealed = mandate.sealed_request if mandate else None
        if judged != COVERS or sealed is None or transcript is None:
            return judged
        chain = Transcript(REQUESTS, offer.exchange_id)
        for digest in sealed.frames[:frames]:
            chain.add(bytes.fromhex(digest), 0)
        asked = (chain.frames, chain.value.hex())
        return judged if asked == (frames, transcript) else NOT_APPROVED

    def charge(self, mandate_id: str | None, rows: int) -> str:
        """Count rows that were asked under a mandate; return whether it still covers them."""
        mandate = self.by_id(mandate_id) if mandate_id else None
        if mandate is None:
            return NOT_SEEN
        use = self._uses[mandate.id]
        use.rows += rows
        return COVERS if use.rows <= mandate.max_rows_total else "budget_rows_exhausted"

    def _is_overdue(self, sha256: str, mandate: Mandate, opened: datetime) -> bool:
        """Tell whether an emergency was used too late, or was never validated in time."""
        if sha256 not in self._unvalidated or mandate.emergency is None:
            return False
        deadline = mandate.emergency.validate_by
        tolerance = timedelta(seconds=self._clock_tolerance_s)
        if opened - tolerance > deadline:
            return True
        return mandate.id not in self._validated_ids and self._at - tolerance > deadline

    def _count_exchange(self, mandate: Mandate) -> str:
        use = self._uses[mandate.id]
        use.exchanges += 1
        return COVERS if use.exchanges <= mandate.max_exchanges else "budget_exchanges_exhausted"

    def _verify(self, envelope: bytes) -> VerifiedMandate:
        named = read_envelope(envelope).mandate
        keys = TrustedKeys(
            issuers={named.issuer: trusted_card(self._trust, named.issuer).log_key},
            validators={named.validator: trusted_card(self._trust, named.validator).log_key},
        )
        return verify_envelope(envelope, keys, allow_unvalidated=True)


def _id_reused(mandate: Mandate) -> AuthorisationError:
    return AuthorisationError(
        f"there is another mandate with the id {mandate.id}",
        mend="Ask the issuer which of the two it signed, and why both.",
        reason="mandate_id_reused",
        party=mandate.issuer,
    )
