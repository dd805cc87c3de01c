"""Taking up what a process left open that is gone (protocols/specs/exchange.md, section 13, step 4).

Promise: an exchange goes on only with what it was opened on: its mandate, the same set under the same
manifest, and the seed that its answer committed to.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare import _native
from psishare.errors import ConfigError, PsishareError
from psishare.exchange.offer import WIRE_VERSION
from psishare.exchange.opened import OpenedExchange, Past
from psishare.exchange.opening import own_opening
from psishare.exchange.register import LIVE, Row, State
from psishare.mandates.archive import MandateArchive
from psishare.psi import suite
from psishare.psi.suite import Output

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from psishare.exchange.admission import Admission
    from psishare.exchange.catalogue import Catalogue
    from psishare.exchange.journal import Journal
    from psishare.exchange.offer import Offer
    from psishare.exchange.offering import Offering
    from psishare.exchange.open_exchanges import OpenExchanges
    from psishare.exchange.rooms import PlatformRooms
    from psishare.exchange.terms import Terms

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a platform that starts has made of the exchanges that were left open.

    Attributes:
        aborted: how many could not go on and are recorded as aborted.
        restored: how many are open again.
    """

    aborted: int
    restored: int


class Restoration:
    """Takes up the exchanges that were left open.

    Args:
        rooms: home, peers, log, budget, register.
        catalogue: what is served.
        admission: verifies the mandates.
        journal: tells what the log holds.
        exchanges: where an exchange is open again.
        hand_out: returns who takes the platform's own matches of an offer's exchange, opened on what
            is served, if anybody.
    """

    def __init__(  # noqa: PLR0917  the rooms of the platform, in the order of its steps
        self,
        rooms: PlatformRooms,
        catalogue: Catalogue,
        admission: Admission,
        journal: Journal,
        exchanges: OpenExchanges,
        hand_out: Callable[[Offer, Offering], Callable[[pa.Array], None] | None],
    ) -> None:
        self._rooms = rooms
        self._catalogue = catalogue
        self._admission = admission
        self._journal = journal
        self._exchanges = exchanges
        self._hand_out = hand_out

    def restore(self, row: Row) -> str | None:
        """Have an exchange open again, or return the reason for which it ends."""
        if row.state is not State.OPENED:
            return "interrupted"
        told = self._journal.told(row.exchange_id, row.log_size)
        if told.terms is None or told.ended:
            return "interrupted"
        try:
            exchange = self._take_up(told.terms)
        except PsishareError as error:
            _logger.warning(
                "exchange %s cannot go on: %s [%s]",
                row.exchange_id.hex()[:16],
                error.message,
                error.reason,
            )
            return "not_restorable"
        self._exchanges.add(exchange)
        return None

    def free_reservations(self) -> None:
        """Free what is still reserved for exchanges that have ended, or were never opened."""
        budget = self._rooms.budget
        for exchange_id in budget.open_exchanges():
            row = self._rooms.register.get(exchange_id)
            # An exchange is entered before anything is reserved for it.
            if row is None or row.state is State.REFUSED:
                budget.cancel(exchange_id)
            elif row.state not in LIVE:
                budget.release(exchange_id)

    def _take_up(self, terms: Terms) -> OpenedExchange:
        """Make an exchange again from what the log, the register and the budget hold of it."""
        rooms, offer = self._rooms, terms.offer
        if offer.wire_version != WIRE_VERSION:
            raise not_restorable(f"it is of wire version {offer.wire_version}")
        envelope = MandateArchive(rooms.home.mandates_path).get(offer.mandate_sha256)
        if envelope is None:
            raise not_restorable("its mandate is not kept")
        mandate = self._admission.verify_mandate(envelope)
        offering = self._catalogue.find(offer.dataset, suite.Protocol(offer.protocol))
        if offering is None:
            raise not_restorable(f"{offer.dataset} is not served with {offer.protocol}")
        seed = self._seed_again(terms, offering)
        return OpenedExchange(
            terms,
            rooms.peers.get(offer.authority).card.log_key,
            offering.driver(suite.Protocol(offer.protocol), Output(offer.output), seed),
            rooms.budget,
            rooms.register,
            matched=self._hand_out(offer, offering),
            mandate=mandate,
            past=Past(
                rooms.budget.committed_frames(offer.exchange_id),
                rooms.register.answers(offer.exchange_id),
            ),
        )

    def _seed_again(self, terms: Terms, offering: Offering) -> _native.Seed:
        """Return the seed of an exchange, if what is served is still what was answered."""
        answer = terms.answer
        served = offering.manifest_sha256, offering.n_elements
        if served != (answer.manifest_sha256, answer.elements):
            raise not_restorable(f"{answer.dataset} is no longer what it was")
        root = offering.input_root
        if root is None:
            return _native.Seed.generate()
        opening = own_opening(self._rooms.home, terms.exchange_id)
        seed = _native.Seed.from_secret_bytes(bytes.fromhex(opening.seed))
        if seed.commitment(root).hex() != answer.opening_commitment:
            raise not_restorable(f"{answer.dataset} is no longer what it was")
        return seed


def not_restorable(fault: str) -> ConfigError:
    """Return the error of a platform that starts and lacks what an exchange goes on with."""
    return ConfigError(
        fault,
        mend="Serve what was served before; the authority has to make a new offer.",
        reason="not_restorable",
    )
