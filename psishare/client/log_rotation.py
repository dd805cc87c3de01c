"""The keys of a log's checkpoints rotated, with an overlap: the log decides, the card follows it.

Source: protocols/specs/audit-log.md, section 11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.audit.key_history import KeyHistory, retirement_entry, rotation_entry
from psishare.client.opened_home import LOGGING_ROLES, open_log
from psishare.client.renewal import log_card, published_serial
from psishare.errors import ConfigError
from psishare.keys.log_keys import MAX_PAIRS
from psishare.parties.card_change import changing_card
from psishare.parties.log_rotation import adopt_log_keys, prepare_next_pair

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psishare.keys.log_keys import LogKeys
    from psishare.keys.signer import Algorithm
    from psishare.parties.home import Home
    from psishare.parties.signer_choice import SignerChoice


def rotate_log_keys(home: Home, *, signers: Mapping[Algorithm, SignerChoice] | None = None) -> Home:
    """Let another pair of keys sign the log's checkpoints from now on, beside the one before it.

    What was cut off is completed first. A process that has the log open goes on with both pairs.

    Args:
        home: of a party that keeps a log.
        signers: new keys that are not to lie in the home.

    Returns:
        The home with its new card, which peers are to be given.

    Raises:
        ConfigError: ``role_unfit``; ``log_rotation_pending``, two pairs sign already; ``log_key_reused``;
            ``log_rotation_spent``, a card can name no more pairs; ``signer_unknown``,
            ``signer_failed``; the home does not open, or a file cannot be written.
        AuditError: the log cannot take the entry, or the card is not renewed yet: call again.
        VerificationError: the log is damaged.
    """
    _require_log(home)
    home.unlock()
    with changing_card(home) as begun:
        fresh, keys = _adopted(begun)
        if keys.overlaps:
            raise _pending(home)
        if len(keys.terms) == MAX_PAIRS:
            raise _spent(home)
        new = prepare_next_pair(fresh, signers or {})
        old = fresh.checkpoint_signers(keys.newest.keys)
        open_log(fresh).append(rotation_entry(old, new))
        return _adopted(fresh)[0]


def retire_log_keys(home: Home) -> Home:
    """End the overlap: let the newest pair of keys alone sign the log's checkpoints.

    The retired keys are destroyed, but for those with which the log began: they sign statements and
    cosignatures.

    Args:
        home: of a party that keeps a log.

    Returns:
        The home with its new card. Peers that have the card before it go on; those that have an older one
        refuse the log until they have a newer one.

    Raises:
        ConfigError: ``log_rotation_missing``, one pair alone signs; or as ``rotate_log_keys``.
        AuditError, VerificationError: as ``rotate_log_keys``.
    """
    _require_log(home)
    home.unlock()
    with changing_card(home) as begun:
        fresh, keys = _adopted(begun)
        if not keys.overlaps:
            raise _missing(home)
        open_log(fresh).append(retirement_entry(keys.terms[-2].keys))
        return _adopted(fresh)[0]


def _adopted(home: Home) -> tuple[Home, LogKeys]:
    """Let card and key files be what the log says of them, and the log name the card."""
    log = open_log(home)
    history = KeyHistory(home.card.verifiers())
    history.take_all(enumerate(log.entries(0, log.size)))
    home = adopt_log_keys(home, history.keys, published_serial(log))
    log_card(home)
    return home, history.keys


def _require_log(home: Home) -> None:
    if home.card.role not in LOGGING_ROLES:
        raise ConfigError(
            f"{home.id} is of role {home.card.role}, which keeps no log",
            mend="Rotate the keys of a platform's or an authority's log; its other keys are renewed with"
            " `psishare party renew`.",
            reason="role_unfit",
        )


def _pending(home: Home) -> ConfigError:
    return ConfigError(
        f"two pairs of keys sign the log of {home.id} already",
        mend="Give the card to your peers; once all have it, `psishare party rotate-log-keys --finish`.",
        reason="log_rotation_pending",
    )


def _missing(home: Home) -> ConfigError:
    return ConfigError(
        f"one pair of keys alone signs the log of {home.id}",
        mend="Begin with `psishare party rotate-log-keys`, and give the card to your peers.",
        reason="log_rotation_missing",
    )


def _spent(home: Home) -> ConfigError:
    return ConfigError(
        f"the card of {home.id} names {MAX_PAIRS} pairs of keys, and takes no more",
        mend="Make a successor with `psishare party succeed`.",
        reason="log_rotation_spent",
    )
