"""What second operators have decided on the platform's held offers.

A decision counts from when the log has it, once, for one hold, and only as long as its operator is trusted
(protocols/specs/exchange.md, "Held offers").
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from psishare.errors import AuthorisationError, ConfigError, InputError
from psishare.exchange.approval import Approval, SignedApproval, Verdict
from psishare.exchange.document import now, read_time, write_time
from psishare.exchange.hold import HOLD, Hold
from psishare.exchange.register import State
from psishare.keys.statement import sign_statement
from psishare.mandates.archive import MandateArchive
from psishare.mandates.envelope import read_envelope
from psishare.transport import wire_pb2 as wire

if TYPE_CHECKING:
    from psishare.exchange.journal import Journal
    from psishare.exchange.offer import Offer
    from psishare.exchange.register import Row
    from psishare.exchange.rooms import PlatformRooms
    from psishare.keys.signer import Signer
    from psishare.mandates.mandate import Mandate


class Approvals:
    """Holds offers and takes decisions on them.

    Args:
        rooms: home, peers, register and policy are used.
        journal: takes the entries.
    """

    def __init__(self, rooms: PlatformRooms, journal: Journal) -> None:
        self._rooms = rooms
        self._journal = journal

    def hold(self, offer: Offer, envelope: bytes, mandate: Mandate, reason: str, peer: str) -> Hold:
        """Hold an offer: sign it, log it, and wait for a decision.

        Raises:
            AuditError: the log or the state takes nothing.
        """
        rooms, time = self._rooms, now()
        hours = rooms.policy.approval.ticket_hours
        hold = Hold(
            exchange_id=offer.exchange_id.hex(),
            authority=offer.authority,
            platform=offer.platform,
            mandate_sha256=offer.mandate_sha256,
            reason=reason,
            time=write_time(time),
            expires=write_time(time + timedelta(hours=hours)),
        )
        MandateArchive(rooms.home.mandates_path).keep(envelope)
        self._journal.held(hold, self.sign(hold), offer, mandate.id, peer)
        rooms.register.update(
            offer.exchange_id, State.HELD, mandate_id=mandate.id, answer=hold.document()
        )
        return hold

    def held(self, exchange_id: bytes) -> Row | None:
        """Return the row of an offer that is held, or None."""
        row = self._rooms.register.get(exchange_id)
        return row if row is not None and row.state is State.HELD else None

    def shown(self, hold: Hold) -> wire.Signed:
        """Return a hold as the authority is shown it."""
        return wire.Signed(document=hold.document(), signature=self.sign(hold))

    def let_go_on(self, held: Row) -> bool:
        """Tell whether a held offer may go on, which it does once.

        From here on a crash ends it like any other offer.

        Raises:
            PsishareError: as ``is_approved``.
        """
        if not self.is_approved(held):
            return False
        self._rooms.register.update(held.exchange_id, State.OFFERED)
        return True

    def sign(self, hold: Hold) -> bytes:
        """Return the platform's signature over a hold, the same each time."""
        return sign_statement(self._rooms.home.log_signer(), HOLD, hold.document())

    def is_approved(self, row: Row) -> bool:
        """Tell whether a held offer may go on; False as long as nobody has decided.

        Raises:
            AuthorisationError: ``ticket_expired``, ``approval_rejected`` or ``approval_withdrawn``.
            AuditError: the log cannot be read.
        """
        hold = hold_of(row)
        if now() > read_time(hold.expires):
            raise _expired(hold)
        signed = self._decided(row)
        if signed is None:
            return False
        self._require_counting(hold, signed)
        if signed.approval.verdict == "rejected":
            raise AuthorisationError(
                f"{signed.approval.operator} has rejected the offer",
                mend="Ask the platform why; another offer has to be approved anew.",
                reason="approval_rejected",
            )
        return True

    def decide(self, row: Row, *, operator: str, signer: Signer, verdict: Verdict) -> Approval:
        """Decide on a held offer with an operator's own key, and log it.

        Args:
            row: the exchange.
            operator: the operator's party id.
            signer: the operator's Ed25519 key.
            verdict: ``approved`` or ``rejected``.

        Raises:
            InputError: ``not_held``; ``approval_repeated``, somebody has decided already.
            AuthorisationError: ``approver_untrusted``, ``ticket_expired``.
            AuditError: the log cannot take it; then it does not count.
            ConfigError: the platform's keys, with which its log is signed, do not open.
        """
        hold = hold_of(row)
        if now() > read_time(hold.expires):
            raise _expired(hold)
        self._require_approver(hold, operator, signer.public_key)
        approval = Approval(
            hold_sha256=hold.sha256.hex(),
            operator=operator,
            verdict=verdict,
            time=write_time(now()),
        )
        signed = SignedApproval.sign(approval, signer)
        # A person may be asked for the passphrase: before others are kept waiting.
        self._rooms.home.unlock()
        with self._rooms.register.holding(row.exchange_id) as is_held:
            if not is_held or self._decided(row) is not None:
                raise InputError(
                    "this offer has been decided on already",
                    mend="See the log for who did; a ticket is decided on once.",
                    reason="approval_repeated",
                )
            self._journal.decided(hold, signed)
        return approval

    def _decided(self, row: Row) -> SignedApproval | None:
        """Return what the log tells of a decision: nothing else can, so that none counts unlogged."""
        return self._journal.told(row.exchange_id, row.log_size).decided

    def _require_counting(self, hold: Hold, signed: SignedApproval) -> None:
        operator = signed.approval.operator
        try:
            key = self._rooms.peers.get(operator).card.log_key
            self._require_approver(hold, operator, key)
        except (AuthorisationError, ConfigError):
            raise AuthorisationError(
                f"{operator}, who decided on the offer, is trusted as an approver no more",
                mend="Make a new offer, and have another operator approve it.",
                reason="approval_withdrawn",
            ) from None
        signed.verify(hold, key)

    def _require_approver(self, hold: Hold, operator: str, key: bytes) -> None:
        """Require somebody else's word: trusted as approver, no party to exchange or mandate."""
        rooms = self._rooms
        named = rooms.policy.approval.approvers
        envelope = MandateArchive(rooms.home.mandates_path).get(hold.mandate_sha256)
        mandate = None if envelope is None else read_envelope(envelope).mandate
        parties = {hold.authority, hold.platform}
        if mandate is not None:
            parties |= {mandate.issuer, mandate.validator}
        trusted = rooms.peers.trusted("approver").get(operator) == key
        own = key == rooms.home.card.log_key
        if own or operator in parties or not trusted or (named and operator not in named):
            raise AuthorisationError(
                f"{operator} may not decide on this offer",
                mend="An operator with a key of its own decides, pinned with `--trust approver`, named"
                " by the policy if it names any, and no party to the mandate.",
                reason="approver_untrusted",
                party=operator,
            )


def hold_of(row: Row) -> Hold:
    """Return the hold of an offer that is held.

    Raises:
        InputError: ``not_held``.
    """
    if row.state is not State.HELD or row.answer is None:
        raise InputError(
            f"the exchange {row.exchange_id.hex()[:16]} is {row.state.value}, not held",
            mend="See with `psishare exchange list` what is held.",
            reason="not_held",
        )
    return Hold.parse(row.answer)


def _expired(hold: Hold) -> AuthorisationError:
    return AuthorisationError(
        f"the ticket of the held offer ended at {hold.expires}",
        mend="Make a new offer.",
        reason="ticket_expired",
    )
