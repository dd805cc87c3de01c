"""A party's keys renewed under the same pin; the log says so, where one is kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from psishare.audit.entry import CardChanged, LogCreated, parse_entry
from psishare.client.opened_home import LOGGING_ROLES, open_log
from psishare.parties import renewal
from psishare.parties.expiry import Expiry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from psishare.audit.log import Log
    from psishare.parties.home import Home
    from psishare.parties.peers import Peer


def announce_certificate(home: Home) -> Home:
    """Make the next TLS certificate and name it in the card, beside the current one.

    Args:
        home: of any role.

    Returns:
        The home with its new card, which peers are to be given.

    Raises:
        ConfigError: ``renewal_pending``; the home does not open; a file cannot be written.
        AuditError: the card is changed, but the log cannot take the entry; it does before the next
            change.
    """
    return _changed(home, renewal.announce_certificate)


def switch_certificate(home: Home) -> Home:
    """Put the next TLS certificate in the place of the current one; reload ``serve`` after it (SIGHUP).

    Args:
        home: of any role.

    Returns:
        The home with its new card. Peers that have the card before it accept both certificates.

    Raises:
        ConfigError: ``renewal_missing``; or as ``announce_certificate``.
        AuditError: as ``announce_certificate``.
    """
    return _changed(home, renewal.switch_certificate)


def renew_sealing_key(home: Home) -> Home:
    """Make another sealing key; the ones before it still open what was sealed to them.

    Args:
        home: of any role.

    Returns:
        The home with its new card, which peers are to be given.

    Raises:
        ConfigError, AuditError: as ``announce_certificate``.
    """
    return _changed(home, renewal.renew_sealing_key)


def certificate_warnings(home: Home, peers: Iterable[Peer]) -> list[str]:
    """Return what is to be done soon about certificates: the party's own, and those of peers.

    Args:
        home: of any role.
        peers: whose certificates to look at beside the party's own.

    Returns:
        A sentence for each certificate that ends within 60 days, or has ended; none where all is well.
    """
    now = datetime.now(UTC)
    warnings = [Expiry.of(home.card).own_warning(now)]
    warnings += [Expiry.of(peer.card).peer_warning(now) for peer in peers]
    return [warning for warning in warnings if warning is not None]


def _changed(home: Home, change: Callable[..., Home]) -> Home:
    home.unlock()
    log_card(home.reopened())
    keeps_log = home.card.role in LOGGING_ROLES
    changed = change(home, published=published_serial(open_log(home)) if keeps_log else 0)
    log_card(changed)
    return changed


def published_serial(log: Log) -> int:
    """Return the largest serial of a card that a log names; 0 where it names no later one."""
    entries = map(parse_entry, log.entries(0, log.size))
    return max((entry.serial for entry in entries if isinstance(entry, CardChanged)), default=0)


def log_card(home: Home) -> None:
    """Let the log name the card, unless it does: a change before may have been cut off.

    Args:
        home: of any role; nothing is done where it keeps no log.

    Raises:
        AuditError: the log does not recover, or cannot take the entry.
    """
    if home.card.role not in LOGGING_ROLES:
        return
    log = open_log(home)
    digest = home.card.sha256.hex()
    for index in reversed(range(log.size)):
        entry = parse_entry(log.entry(index))
        if isinstance(entry, CardChanged | LogCreated):
            if entry.card_sha256 == digest:
                return
            break
    log.append(CardChanged(party=home.id, serial=home.card.serial, card_sha256=digest))
