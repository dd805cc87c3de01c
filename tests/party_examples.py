"""Home folders and cards of parties, made as `psishare party init` makes them."""

from __future__ import annotations

import base64
import functools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from psishare.keys.note_key import NoteKey, SignatureType
from psishare.keys.sealing import SealingKey
from psishare.keys.signer import Ed25519Signer, MlDsa44Signer
from psishare.parties.card import Card, sign_card
from psishare.parties.home import Home
from psishare.parties.tls import make_certificate

if TYPE_CHECKING:
    from pathlib import Path

PLATFORM = "telecom.example"
AUTHORITY = "police.example/unit-3"
NOW = datetime(2026, 8, 1, 12, 0, 0, tzinfo=UTC)


def make_home(folder: Path, party_id: str = PLATFORM, role: str = "platform") -> Home:
    """Return a fresh home folder under a folder."""
    return Home.init(
        folder / party_id.replace("/", "_"), id=party_id, role=role, display_name="A party"
    )


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


@functools.cache
def certificate_of(party_id: str, *, number: int = 1) -> bytes:
    """Return one of a party's certificates, the same for the same number."""
    return make_certificate(party_id, now=NOW)[0]


@functools.cache
def signer_of(party_id: str) -> Ed25519Signer:
    """Return a party's log key, the same each time."""
    return Ed25519Signer.generate()


@functools.cache
def pq_signer_of(party_id: str) -> MlDsa44Signer:
    """Return the post-quantum key beside it, the same each time."""
    return MlDsa44Signer.generate()


@functools.cache
def card_of(party_id: str = PLATFORM) -> Card:
    """Return a party's first card, the same each time."""
    ml_dsa_44 = pq_signer_of(party_id).public_key
    return Card.model_validate(
        {
            "version": 1,
            "id": party_id,
            "display_name": "A party",
            "role": "platform",
            "log_keys": {
                "ed25519": NoteKey(
                    party_id, SignatureType.ED25519, signer_of(party_id).public_key
                ).encode(),
                "ml_dsa_44": NoteKey(party_id, SignatureType.ML_DSA_44, ml_dsa_44).encode(),
            },
            "sealing_key": base64_of(SealingKey.generate().public_key),
            "tls": {"current": base64_of(certificate_of(party_id)), "next": None},
            "serial": 1,
            "created": "2026-08-01T12:00:00Z",
        }
    )


def changed(card: Card, **changes: Any) -> Card:
    """Return a card with some fields changed."""
    return Card.model_validate(card.model_dump(mode="json") | changes)


def card_file(card: Card) -> bytes:
    """Return a card's file, signed by its own key."""
    return sign_card(card, signer_of(card.id))
