"""An offer that comes again after its exchange has ended, or has come further (exchange.md, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.errors import AuthorisationError, PsishareError
from psishare.exchange.open_exchanges import not_open
from psishare.exchange.reasons import refusal_class
from psishare.exchange.register import Row, State

if TYPE_CHECKING:
    from psishare.parties.peers import Peer


def require_no_end(row: Row, peer: Peer) -> None:
    """Answer an offer as before whose exchange has ended before its first frame, or later."""
    if row.state is State.REFUSED:
        raise _refused_before(row.reason or "")
    if row.state is State.ABORTED:
        raise not_open(row, peer)


def _refused_before(reason: str) -> PsishareError:
    """Return the refusal of an offer that was refused before, and stands in the log as such."""
    return refusal_class(reason)(
        "this offer has been refused before",
        mend="Mend what the first refusal names, and make a new offer.",
        reason=reason,
    )


def repeated(exchange_id: bytes) -> AuthorisationError:
    """Return the refusal of an offer that was made before, and cannot be answered as it was then."""
    return AuthorisationError(
        f"the offer {exchange_id.hex()[:16]} has been made before",
        mend="Make a new offer.",
        reason="exchange_repeated",
    )
