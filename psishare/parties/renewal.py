"""New keys under the same pin: each is written first, and then a card of the next serial names it.

The card is the one step that decides. Until it is replaced the old key is in use, from then on the new
one; peers take the card because the pinned key has signed it. Source: protocols/specs/card.md,
section 7.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from psishare.errors import ConfigError
from psishare.keys.sealing import SealingKey
from psishare.parties.card_change import changing_card, destroy_key, replace_card
from psishare.parties.party_keys import (
    SEALING,
    SEALING_USE,
    TLS_USE,
    base64_text,
    write_later_key,
)
from psishare.parties.tls import KEY_ALGORITHM, VALID_DAYS, make_certificate, validity

if TYPE_CHECKING:
    from psishare.parties.home import Home


def announce_certificate(home: Home, *, valid_days: int = VALID_DAYS, published: int = 0) -> Home:
    """Make the next TLS certificate, and name it in the card beside the current one.

    Args:
        home: as it was opened.
        valid_days: how long the certificate lasts.
        published: the largest serial that the party's log knows of.

    Returns:
        The home, with its new card, which peers are to be given.

    Raises:
        ConfigError: ``renewal_pending``, a next one is named already; a file cannot be written; the
            home does not open. The card is as it was.
    """
    now = datetime.now(UTC)
    with changing_card(home) as fresh:
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
        return replace_card(fresh, now, published=published, tls=tls.model_dump(mode="json"))


def switch_certificate(home: Home, *, published: int = 0) -> Home:
    """Put the next TLS certificate in the place of the current one, and destroy that one's key.

    Args:
        home: as it was opened.
        published: the largest serial that the party's log knows of.

    Returns:
        The home, with its new card. Peers that have the card before it accept both certificates.

    Raises:
        ConfigError: ``renewal_missing``, the card names no next one, or it is not valid yet; or as
            ``announce_certificate``.
    """
    now = datetime.now(UTC)
    with changing_card(home) as fresh:
        card = fresh.card
        if card.tls.next is None or validity(card.certificates()[1])[0] > now:
            raise ConfigError(
                f"the card of {card.id} names no next certificate that is valid now",
                mend="Make one with `psishare party renew`, and give the card to your peers first.",
                reason="renewal_missing",
            )
        old = fresh.key_path(TLS_USE, card.certificates()[0])
        renewed = replace_card(
            fresh, now, published=published, tls={"current": card.tls.next, "next": None}
        )
        destroy_key(old)
        return renewed


def renew_sealing_key(home: Home, *, published: int = 0) -> Home:
    """Make another sealing key, and name it in the card; the ones before it still open what they did.

    Args:
        home: as it was opened.
        published: the largest serial that the party's log knows of.

    Returns:
        The home, with its new card, which peers are to be given.

    Raises:
        ConfigError: as ``announce_certificate``.
    """
    now = datetime.now(UTC)
    key = SealingKey.generate()
    with changing_card(home) as fresh:
        write_later_key(
            fresh.keys_path,
            SEALING_USE,
            fresh.vault,
            algorithm=SEALING,
            public=key.public_key,
            secret=key.secret_bytes(),
        )
        return replace_card(
            fresh, now, published=published, sealing_key=base64_text(key.public_key)
        )
