"""The fingerprint of a pinned key: twelve words that two people read to each other.

132 bits of SHA-256 over the key, as words of BIP-39's English list, which was made to be heard right:
no two words share their first four letters. Source: protocols/specs/card.md, section 6.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import importlib.resources
import re

from psishare.errors import ConfigError

PIN_PREFIX = b"psishare/pin/v1\x00"
WORDS = 12
WORD_BITS = 11
WORD_LIST_SHA256 = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
MAX_CHARACTERS = 1024
_SEPARATOR = re.compile(r"[\s-]+")


def fingerprint(public_key: bytes) -> str:
    """Return the fingerprint of a raw Ed25519 public key: twelve words joined by hyphens."""
    digest = hashlib.sha256(PIN_PREFIX + public_key).digest()
    number = int.from_bytes(digest, "big") >> (8 * len(digest) - WORDS * WORD_BITS)
    words = _words()
    positions = range((WORDS - 1) * WORD_BITS, -1, -WORD_BITS)
    return "-".join(words[number >> position & (2**WORD_BITS - 1)] for position in positions)


def require_fingerprint(public_key: bytes, stated: str, *, party: str) -> None:
    """Refuse a key whose fingerprint is not the one that a person states.

    Args:
        public_key: the raw Ed25519 key, 32 bytes.
        stated: twelve words; case, spaces and hyphens do not matter.
        party: whose key it is said to be.

    Raises:
        ConfigError: ``fingerprint_malformed``, not twelve words of the list;
            ``fingerprint_mismatch``, the fingerprint of another key.
    """
    words = _SEPARATOR.split(stated[:MAX_CHARACTERS].strip(" \t\r\n-").lower())
    if len(words) != WORDS:
        raise ConfigError(
            f"a fingerprint has {WORDS} words, not {len(words)}",
            mend="Have the whole fingerprint read out by its owner; there is no short form.",
            reason="fingerprint_malformed",
            party=party,
        )
    unknown = [place for place, word in enumerate(words, 1) if word not in _known()]
    if unknown:
        raise ConfigError(
            f"word {unknown[0]} of the fingerprint is not one that fingerprints use",
            mend="Have it read out and spelled by its owner.",
            reason="fingerprint_malformed",
            party=party,
        )
    if not hmac.compare_digest("-".join(words), fingerprint(public_key)):
        raise ConfigError(
            f"the fingerprint stated is not that of the card of {party}",
            mend="Do not use this card. Reach its owner by a way that you trust and compare again.",
            reason="fingerprint_mismatch",
            party=party,
        )


@functools.cache
def _words() -> tuple[str, ...]:
    data = importlib.resources.files("psishare.parties").joinpath("words.txt").read_bytes()
    if hashlib.sha256(data).hexdigest() != WORD_LIST_SHA256:
        raise ConfigError(
            "the list of words for fingerprints is damaged",
            mend="Install psishare again.",
            reason="word_list_damaged",
        )
    return tuple(data.decode("ascii").split())


@functools.cache
def _known() -> frozenset[str]:
    return frozenset(_words())
