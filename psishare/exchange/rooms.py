"""What each side of an exchange works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psishare.audit.log import Log
    from psishare.exchange.register import Register
    from psishare.mandates.budget import Budget
    from psishare.mandates.policy import Policy
    from psishare.parties.home import Home
    from psishare.parties.peers import Peers


@dataclass(frozen=True)
class AuthorityRooms:
    """What the authority's side works with.

    Attributes:
        home: keys, card and folders.
        peers: pinned parties.
        log: the audit log.
        register: the exchanges.
    """

    home: Home
    peers: Peers
    log: Log
    register: Register


@dataclass
class PlatformRooms:
    """What the platform's side works with.

    Attributes:
        home: keys, card and folders.
        peers: pinned parties.
        log: the audit log.
        budget: reservations and charges.
        register: the exchanges.
        policy: the platform's own rules; may be exchanged for others, which count from then on.
        former_certificates: SHA-256 of those that this process served with before: connections that
            were made then may still be open.
    """

    home: Home
    peers: Peers
    log: Log
    budget: Budget
    register: Register
    policy: Policy
    former_certificates: frozenset[bytes] = frozenset()

    def reopen(self, home: Home) -> None:
        """Work with the home as it lies now; what connections from before bind stays good."""
        served_with = self.home.tls_identity().certificate_sha256
        self.former_certificates |= {served_with}
        self.home = home
