"""New keys under the same pin: each is written first, and then a card of the next serial names it.

The card is the one step that decides. Until it is replaced the old key is in use, from then on the new
one; peers take the card because the pinned key has signed it. Source: protocols/specs/card.md,
section 7.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from psishare.errors import ConfigError
from psishare.keys.durable_file import overwrite, sync_folder, write_durably
from psishare.keys.sealing import SealingKey
from psishare.parties.card import Card, sign_card
from psishare.parties.field import write_time
from psishare.parties.home import CARD_FILE, Home
from psishare.parties.party_keys import (
    SEALING,
    SEALING_USE,
    TLS_USE,
    base64_text,
    write_later_key,
)
from psishare.parties.tls import KEY_ALGORITHM, VALID_DAYS, make_certificate, validity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def announce_certificate(home: Home, *, valid_days: int = VALID_DAYS) -> Home:
    """Make the next TLS certificate, and name it in the card beside the current one.

    Args:
        home: as it was opened.
        valid_days: how long the certificate lasts.

    Returns:
        The home, with its new card, which peers are to be given.

    Raises:
        ConfigError: ``renewal_pending``, a next one is named already; a file cannot be written; the
            home does not open. The card is as it was.
    """
    now = datetime.now(UTC)
    with _changing(home) as fresh:
        card = fresh.card
        if card.tls.next is not None:
            raise ConfigError(
                f"the card of {card.id} names a next certificate already",
                mend="Give the card to your peers; once all have it, `psishare party renew --switch`.",
                reason="renewal_pending",
            )
        certificate, private = make_certificate(card.id, now=now, valid_days=valid_days)
        write_later_key(
            fresh.keys_path,
            TLS_USE,
            fresh.vault,
            algorithm=KEY_ALGORITHM,
            public=certificate,
            secret=private,
        )
        tls = card.tls.model_copy(update={"next": base64_text(certificate)})
        return _replace_card(fresh, now, tls=tls.model_dump(mode="json"))


def switch_certificate(home: Home) -> Home:
    """Put the next TLS certificate in the place of the current one, and destroy that one's key.

    Returns:
        The home, with its new card. Peers that have the card before it accept both certificates.

    Raises:
        ConfigError: ``renewal_missing``, the card names no next one, or it is not valid yet; or as
            ``announce_certificate``.
    """
    now = datetime.now(UTC)
    with _changing(home) as fresh:
        card = fresh.card
        if card.tls.next is None or validity(card.certificates()[1])[0] > now:
            raise ConfigError(
                f"the card of {card.id} names no next certificate that is valid now",
                mend="Make one with `psishare party renew`, and give the card to your peers first.",
                reason="renewal_missing",
            )
        old = fresh.key_path(TLS_USE, card.certificates()[0])
        renewed = _replace_card(fresh, now, tls={"current": card.tls.next, "next": None})
        _destroy(old)
        return renewed


def renew_sealing_key(home: Home) -> Home:
    """Make another sealing key, and name it in the card; the ones before it still open what they did.

    Returns:
        The home, with its new card, which peers are to be given.

    Raises:
        ConfigError: as ``announce_certificate``.
    """
    now = datetime.now(UTC)
    key = SealingKey.generate()
    with _changing(home) as fresh:
        write_later_key(
            fresh.keys_path,
            SEALING_USE,
            fresh.vault,
            algorithm=SEALING,
            public=key.public_key,
            secret=key.secret_bytes(),
        )
        return _replace_card(fresh, now, sealing_key=base64_text(key.public_key))


@contextlib.contextmanager
def _changing(home: Home) -> Iterator[Home]:
    """Hold the home's lock over a change that starts from the card as it is now."""
    try:
        descriptor = os.open(home.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritable(home.path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield home.reopened()
    finally:
        os.close(descriptor)


def _replace_card(home: Home, now: datetime, **changes: Any) -> Home:
    old = home.card.model_dump(mode="json")
    later = {"serial": home.card.serial + 1, "created": write_time(now)}
    card = Card.model_validate(old | later | changes)
    data = sign_card(card, home.log_signer())
    write_durably(home.path / CARD_FILE, data, error=ConfigError, reason="home_unwritable")
    return home.reopened()


def _destroy(path: Path) -> None:
    """Destroy a key that no card names any more; a process that still runs has it in memory."""
    try:
        with path.open("r+b") as file:
            overwrite(file)
        path.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} cannot be changed: {error.strerror or type(error).__name__}",
        mend="Check free space and permissions there.",
        reason="home_unwritable",
    )
