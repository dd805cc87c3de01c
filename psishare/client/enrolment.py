"""A party made, and its peers pinned or forgotten; the log says so, where one is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.audit.entry import LogCreated, PeerAdded, PeerRemoved
from psishare.audit.log import Log
from psishare.errors import AuditError
from psishare.parties.home import Home
from psishare.parties.peers import Peer, Peers, Trust

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from psishare.keys.passphrase import Passphrase
    from psishare.keys.signer import Algorithm
    from psishare.parties.signer_choice import SignerChoice

from psishare.client.opened_home import LOGGING_ROLES, log_signers, open_log

TRUST_ROLES: tuple[Trust, ...] = ("issuer", "validator")


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
    home: Home, card_file: bytes, *, fingerprint: str, trusted_as: frozenset[str] = frozenset()
) -> Peer:
    """Pin a party, or take a newer card of one that is pinned; the log says so, where one is kept.

    Args:
        home: of any role.
        card_file: as ``psishare party export`` wrote it.
        fingerprint: twelve words, as a person heard them from the card's owner.
        trusted_as: any of ``issuer`` and ``validator``; replaces what was there.

    Raises:
        ConfigError: the card or the fingerprint is not right.
        AuditError: the log cannot take the entry; then the party is not pinned, nor as it was before.
    """
    peers = Peers(home.peers_path)
    peer = peers.add(card_file, fingerprint=fingerprint, trusted_as=trusted_as)
    try:
        _log_peer(home, PeerAdded, peer)
    except AuditError:
        peers.remove(peer.id)
        raise
    return peer


def unpin_peer(home: Home, party_id: str) -> Peer:
    """Forget a pinned party; the log says so, where one is kept.

    Raises:
        ConfigError: it is not pinned.
        AuditError: it is forgotten, but the log cannot take the entry.
    """
    peer = Peers(home.peers_path).remove(party_id)
    _log_peer(home, PeerRemoved, peer)
    return peer


def _log_peer(home: Home, entry: type[PeerAdded | PeerRemoved], peer: Peer) -> None:
    if home.card.role in LOGGING_ROLES:
        open_log(home).append(
            entry(
                peer=peer.id,
                role=peer.card.role,
                card_sha256=peer.card.sha256.hex(),
                trusted_as=tuple(role for role in TRUST_ROLES if role in peer.trusted_as),
            )
        )


def _log_created(home: Home) -> LogCreated:
    return LogCreated(party=home.id, role=home.card.role, card_sha256=home.card.sha256.hex())
