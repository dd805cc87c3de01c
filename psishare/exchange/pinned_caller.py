"""Who calls a platform (protocols/specs/exchange.md, section 4; offline.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.errors import AuthorisationError

if TYPE_CHECKING:
    from psishare.parties.peers import Peer, Peers
    from psishare.transport.channel import Caller


def pinned_authority(peers: Peers, caller: Caller) -> Peer:
    """Return the authority that calls, as it is pinned.

    Raises:
        AuthorisationError: ``peer_unknown``: no pinned authority has this certificate.
    """
    peer = _pinned(peers, caller)
    if peer is None or peer.card.role != "authority":
        raise AuthorisationError(
            "this certificate belongs to no authority that the platform has pinned",
            mend="Exchange cards again and compare the fingerprints.",
            reason="peer_unknown",
        )
    return peer


def _pinned(peers: Peers, caller: Caller) -> Peer | None:
    """Return a certificate's holder, or the party whose signature a parcel bears."""
    if caller.party is None:
        return peers.by_certificate(caller.certificate_sha256)
    peer = peers.get(caller.party)
    return peer if peer.card.offline_end == caller.certificate_sha256 else None
