"""A party made, and its peers pinned or forgotten; the log says so, where one is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.audit.entry import LogCreated, PeerAdded, PeerRemoved, PeerRevoked
from psishare.audit.log import Log
from psishare.errors import PsishareError
from psishare.parties.card import parse_card
from psishare.parties.home import Home
from psishare.parties.peers import Peer, Peers, Trust

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from psishare.keys.passphrase import Passphrase
    from psishare.keys.signer import Algorithm
    from psishare.parties.card import Card
    from psishare.parties.revoked_peer import RevokedPeer
    from psishare.parties.signer_choice import SignerChoice

from psishare.client.opened_home import LOGGING_ROLES, log_signers, open_log

TRUST_ROLES: tuple[Trust, ...] = ("approver", "issuer", "validator")


def init_party(
    path: Path,
    *,
    party_id: str,
    role: str,
    display_name: str,
    passphrase: Passphrase | None = None,
    signers: Mapping[Algorithm, SignerChoice] | None = None,
) -> Home:
    """Make a party's home folder, and its log where its role keeps one.

    Args:
        path: where.
        party_id: its id.
        role: what it does.
        display_name: its name, for people.
        passphrase: encrypts its keys; where None they lie in the clear.
        signers: log keys that are in a token or a service, by algorithm.

    Returns:
        The home, made.

    Raises:
        ConfigError: the folder exists already, the id or name is not valid, or a signer fails.
    """
    home = Home.init(
        path,
        id=party_id,
        role=role,
        display_name=display_name,
        passphrase=passphrase,
        signers=signers,
    )
    if role in LOGGING_ROLES:
        Log.create(home.log_path, **log_signers(home)).append(_log_created(home))
    return home


def set_passphrase(home: Home, passphrase: Passphrase) -> int:
    """Let a passphrase open a home from now on, and encrypt what lies in the clear.

    Where the home has a lock, the passphrase that it has now is asked for first.

    Args:
        home: of any role.
        passphrase: the new one.

    Returns:
        How many key files were in the clear and are encrypted now.

    Raises:
        ConfigError: ``passphrase_missing``, ``passphrase_wrong``; or a file cannot be written: then the
            same again does the rest.
    """
    if home.vault.is_locked:
        home.vault.change_passphrase(passphrase)
    return home.vault.protect(passphrase, home.key_files())


def pin_peer(
    home: Home,
    card_file: bytes,
    *,
    fingerprint: str | None,
    trusted_as: frozenset[str] | None = frozenset(),
    reinstate: bool = False,
) -> Peer:
    """Pin a party, or take a newer card of one that is pinned; the log says so, where one is kept.

    Args:
        home: of any role.
        card_file: as ``psishare party export`` wrote it.
        fingerprint: twelve words, as a person heard them from the card's owner; None for a newer card
            of a party whose pinned key has signed it.
        trusted_as: any of ``approver``, ``issuer`` and ``validator``; replaces what was there, unless it is None.
        reinstate: whether a party that was revoked is meant to come back.

    Returns:
        The party as it is pinned now.

    Raises:
        ConfigError: the card or the fingerprint is not right, the party was revoked, or this home does
            not open.
        AuditError: the log cannot take the entry. Whatever fails, peers are as they were.
    """
    home.unlock()
    party_id = parse_card(card_file).id
    peers = Peers(home.peers_path)
    before = peers.kept(party_id)
    peer = peers.add(card_file, fingerprint=fingerprint, trusted_as=trusted_as, reinstate=reinstate)
    try:
        _log_peer(home, PeerAdded, peer.card, peer.trusted_as)
    except PsishareError:
        peers.put_back(party_id, before)
        raise
    return peer


def revoke_peer(home: Home, party_id: str) -> RevokedPeer:
    """Refuse a pinned party from now on, in running servers too; the log says so, where one is kept.

    Args:
        home: of any role.
        party_id: the party's id.

    Returns:
        The card that was pinned, and since when it is refused.

    Raises:
        ConfigError: it is not pinned, or this home does not open.
        AuditError: it is revoked, but the log cannot take the entry; the same again does that.
    """
    home.unlock()
    peers = Peers(home.peers_path)
    trusted_as = frozenset(role for role in TRUST_ROLES if party_id in peers.trusted(role))
    gone = peers.revoke(party_id)
    _log_peer(home, PeerRevoked, gone.card, trusted_as)
    return gone


def unpin_peer(home: Home, party_id: str) -> Peer:
    """Forget a pinned party; the log says so, where one is kept.

    Args:
        home: of any role.
        party_id: whom to forget.

    Returns:
        The party as it was pinned.

    Raises:
        ConfigError: it is not pinned.
        AuditError: it is forgotten, but the log cannot take the entry.
    """
    home.unlock()
    peer = Peers(home.peers_path).remove(party_id)
    _log_peer(home, PeerRemoved, peer.card, peer.trusted_as)
    return peer


def _log_peer(
    home: Home,
    entry: type[PeerAdded | PeerRemoved | PeerRevoked],
    card: Card,
    trusted_as: frozenset[str],
) -> None:
    if home.card.role in LOGGING_ROLES:
        open_log(home).append(
            entry(
                peer=card.id,
                role=card.role,
                card_sha256=card.sha256.hex(),
                trusted_as=tuple(role for role in TRUST_ROLES if role in trusted_as),
            )
        )


def _log_created(home: Home) -> LogCreated:
    return LogCreated(party=home.id, role=home.card.role, card_sha256=home.card.sha256.hex())
