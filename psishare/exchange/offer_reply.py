"""What a platform replies to an offer, an answer or a hold, as the authority verifies it.

Promise: what is returned is signed by the pinned platform and is about this offer and no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from psishare.errors import ProtocolError, VerificationError
from psishare.exchange.document import Document
from psishare.exchange.hold import HOLD, Hold
from psishare.exchange.offer import ANSWER, Answer, Offer
from psishare.keys.statement import verify_statement

if TYPE_CHECKING:
    from psishare.exchange.synchronise import Synchronised
    from psishare.parties.peers import Peer
    from psishare.transport.wire_pb2 import Signed

D = TypeVar("D", bound=Document)


def require_answer(
    signed: Signed, offer: Offer, platform: Peer, encoded: Synchronised | None
) -> Answer:
    """Return the answer to an offer; refuse one to another offer, or about another set.

    Raises:
        ProtocolError: ``answer_invalid``, ``answer_misdirected``.
    """
    answer = _read(signed, platform, ANSWER, Answer)
    right = (
        answer.exchange_id == offer.exchange_id.hex()
        and answer.platform == offer.platform
        and answer.dataset == offer.dataset
        and answer.manifest_sha256 == offer.manifest_sha256
        and answer.epoch == (encoded.signed.manifest.epoch if encoded else None)
        and (answer.opening_commitment is None) == (encoded is not None)
        and not (encoded and answer.elements)
    )
    if not right:
        raise _misdirected("the platform's answer is not one to this offer", platform)
    return answer


def require_hold(signed: Signed, offer: Offer, platform: Peer, before: bytes | None) -> Hold:
    """Return the hold of an offer.

    Args:
        signed: as the platform shows it.
        offer: what was offered.
        platform: as pinned.
        before: the hold that the platform showed of this offer before, if it did.

    Raises:
        ProtocolError: ``answer_invalid``, ``answer_misdirected``.
    """
    hold = _read(signed, platform, HOLD, Hold)
    told = hold.exchange_id, hold.authority, hold.platform, hold.mandate_sha256
    ours = offer.exchange_id.hex(), offer.authority, offer.platform, offer.mandate_sha256
    if told != ours or before not in {None, signed.document}:
        raise _misdirected(
            "the platform holds another offer, or tells of it otherwise than before", platform
        )
    return hold


def _read(signed: Signed, platform: Peer, statement: str, document: type[D]) -> D:
    try:
        verify_statement(
            platform.card.log_key, statement, signed.document, signed.signature, party=platform.id
        )
        return document.parse(signed.document)
    except VerificationError as error:
        raise ProtocolError(
            f"the {statement} is malformed or not signed by {platform.id}",
            mend="Use the same version of psishare on both sides.",
            reason="answer_invalid",
            party=platform.id,
        ) from error


def _misdirected(fault: str, platform: Peer) -> ProtocolError:
    return ProtocolError(
        fault,
        mend="Use the same version of psishare on both sides.",
        reason="answer_misdirected",
        party=platform.id,
    )
