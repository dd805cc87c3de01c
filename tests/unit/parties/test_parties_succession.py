"""Succession: the pinned key vouches for one card of one other party, and for nothing else."""

from __future__ import annotations

import base64
import functools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from party_examples import (
    AUTHORITY,
    NOW,
    PLATFORM,
    card_file,
    card_of,
    changed,
    signer_of,
)

from psishare.errors import ConfigError, PsishareError
from psishare.keys import canonical
from psishare.keys.statement import sign_statement
from psishare.parties.succession import (
    is_succession,
    parse_succession,
    require_other_id,
    sign_succession,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NEW = "telecom.example/2"


@functools.cache
def succession() -> bytes:
    return sign_succession(signer_of(PLATFORM), card_of(), card_file(card_of(NEW)), now=NOW)


def fields() -> dict[str, Any]:
    return canonical.loads(succession(), max_bytes=200_000, what="it")


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        act()
    return caught.value.reason


def test_the_pinned_key_vouches_for_the_successor() -> None:
    read = parse_succession(succession())
    read.verify(card_of())
    assert (read.old, read.card) == (PLATFORM, card_of(NEW))
    assert is_succession(succession())
    assert not is_succession(card_file(card_of()))
    assert not is_succession(b"{")


def test_another_party_s_key_vouches_for_nobody() -> None:
    read = parse_succession(succession())
    assert refused(lambda: read.verify(card_of(AUTHORITY))) == "succession_invalid"
    forged = sign_succession(
        signer_of(AUTHORITY), card_of(AUTHORITY), card_file(card_of(NEW)), now=NOW
    )
    document = canonical.loads(forged, max_bytes=200_000, what="it")
    document["succession"]["from"] = PLATFORM
    read = parse_succession(canonical.dumps(document))
    assert refused(lambda: read.verify(card_of())) == "succession_invalid"


def test_the_word_for_one_card_does_not_serve_another() -> None:
    other = fields() | {
        "card_file": base64.b64encode(card_file(changed(card_of(NEW), serial=2))).decode()
    }
    assert refused(lambda: parse_succession(canonical.dumps(other))) == "succession_invalid"


def test_a_signature_made_for_another_purpose_vouches_for_nobody() -> None:
    document = canonical.dumps(fields()["succession"])
    signature = sign_statement(signer_of(PLATFORM), "card", document)
    other = fields() | {"signature": base64.b64encode(signature).decode()}
    read = parse_succession(canonical.dumps(other))
    assert refused(lambda: read.verify(card_of())) == "succession_invalid"


def test_a_successor_has_another_id_and_the_same_role() -> None:
    own, other_role = card_file(card_of()), card_file(changed(card_of(NEW), role="issuer"))
    for data in (own, other_role):
        act = functools.partial(sign_succession, signer_of(PLATFORM), card_of(), data, now=NOW)
        assert refused(act) == "succession_invalid"
    assert refused(lambda: require_other_id(card_of(), PLATFORM)) == "succession_invalid"


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"to": PLATFORM},
        {"time": "today"},
        {"card_sha256": "00" * 32},
        {"old": PLATFORM},
        {"more": 1},
    ],
)
def test_a_statement_of_another_form_is_refused(changes: dict[str, object]) -> None:
    document = fields()
    document["succession"] = document["succession"] | changes
    assert refused(lambda: parse_succession(canonical.dumps(document))) == "succession_invalid"


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_flipped_byte_passes_and_none_raises_anything_else(data: st.DataObject) -> None:
    whole = bytearray(succession())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(PsishareError):
        parse_succession(bytes(whole)).verify(card_of())
