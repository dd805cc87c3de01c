"""A party followed by another one with fresh keys, and peers that take it on the old one's word."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from psishare.audit.entry import PartySucceeded
from psishare.client.enrolment import init_party, pin_peer
from psishare.client.opened_home import LOGGING_ROLES, open_log
from psishare.parties.peers import Peers
from psishare.parties.succession import parse_succession, require_other_id, sign_succession

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from psishare.keys.passphrase import Passphrase
    from psishare.keys.signer import Algorithm
    from psishare.parties.home import Home
    from psishare.parties.peers import Peer
    from psishare.parties.signer_choice import SignerChoice


def succeed_party(
    home: Home,
    path: Path,
    *,
    party_id: str,
    passphrase: Passphrase | None = None,
    signers: Mapping[Algorithm, SignerChoice] | None = None,
) -> tuple[Home, bytes]:
    """Make the home of a party's successor, with its peers pinned, and let the party vouch for it.

    The party itself stays as it is, and can be used until its peers remove it.

    Args:
        home: of the party that is to be followed.
        path: where the new home is to be.
        party_id: the new id.
        passphrase: encrypts the new home's keys; where None they lie in the clear.
        signers: log keys of the new party that are elsewhere.

    Returns:
        The new home, and the succession file for the peers.

    Raises:
        ConfigError: a home does not open or cannot be made; ``succession_invalid``, the id is the
            party's own.
        AuditError: a log cannot take an entry. The new home is there then, and is of no use.
    """
    require_other_id(home.card, party_id)
    home.unlock()
    new = init_party(
        path,
        party_id=party_id,
        role=home.card.role,
        display_name=home.card.display_name,
        passphrase=passphrase,
        signers=signers,
    )
    peers = Peers(home.peers_path)
    files = peers.card_files()
    for peer in peers:
        words = peer.card.fingerprint()
        pin_peer(new, files[peer.id], fingerprint=words, trusted_as=peer.trusted_as)
    data = sign_succession(home.log_signer(), home.card, new.export_card(), now=datetime.now(UTC))
    if home.card.role in LOGGING_ROLES:
        digest = new.card.sha256.hex()
        open_log(home).append(PartySucceeded(party=home.id, successor=new.id, card_sha256=digest))
    return new, data


def pin_successor(home: Home, succession_file: bytes) -> Peer:
    """Pin the successor of a pinned party on that party's word, trusted as it is.

    Args:
        home: of any role.
        succession_file: as ``psishare party succeed`` wrote it.

    Returns:
        The successor, as it is pinned now; the party that it follows stays pinned.

    Raises:
        ConfigError: ``succession_invalid``, the pinned key does not vouch for it; ``peer_unknown``;
            ``peer_revoked``; ``card_changed``, that id is pinned already with another card.
        AuditError: the log cannot take the entry; peers are as they were.
    """
    succession = parse_succession(succession_file)
    old = Peers(home.peers_path).get(succession.old)
    succession.verify(old.card)
    return pin_peer(
        home,
        succession.card_file,
        fingerprint=succession.card.fingerprint(),
        trusted_as=old.trusted_as,
    )
