"""What holds for every card."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from party_examples import PLATFORM, card_file, card_of, changed

from psishare.errors import ConfigError
from psishare.parties.card import parse_card
from psishare.parties.fingerprint import fingerprint, require_fingerprint
from psishare.parties.tls import require_certificate

CARD = card_file(card_of())

printable = st.text(
    st.characters(exclude_categories=["Cc", "Cf", "Cs", "Co", "Zl", "Zp"]),
    min_size=1,
    max_size=128,
).filter(lambda text: text == text.strip(" "))


@given(st.integers(0, len(CARD) - 1), st.integers(1, 255))
@settings(max_examples=300)
def test_any_changed_byte_of_a_card_is_refused(position: int, flip: int) -> None:
    altered = bytearray(CARD)
    altered[position] ^= flip
    with pytest.raises(ConfigError):
        parse_card(bytes(altered))


def test_every_byte_of_a_card_counts() -> None:
    for position in range(len(CARD)):
        altered = bytearray(CARD)
        altered[position] ^= 1
        with pytest.raises(ConfigError):
            parse_card(bytes(altered))


@given(st.integers(0, len(CARD)), st.binary(max_size=8))
def test_cut_or_lengthened_card_is_refused(cut: int, tail: bytes) -> None:
    altered = CARD[:cut] + tail
    if altered != CARD:
        with pytest.raises(ConfigError):
            parse_card(altered)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_parsers_raise_anything_but_ours(data: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_card(data)
    with pytest.raises(ConfigError):
        require_certificate(data, PLATFORM)


@given(printable, st.integers(1, 2**53 - 1))
def test_every_card_survives_its_round_trip(name: str, serial: int) -> None:
    card = changed(card_of(), display_name=name, serial=serial)
    assert parse_card(card_file(card)) == card


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_fingerprint_fits_its_own_key_alone(key: bytes, other: bytes) -> None:
    require_fingerprint(key, fingerprint(key), party=PLATFORM)
    if key != other:
        with pytest.raises(ConfigError):
            require_fingerprint(other, fingerprint(key), party=PLATFORM)


@given(st.text(max_size=200))
def test_no_stated_fingerprint_raises_anything_but_ours(stated: str) -> None:
    with pytest.raises(ConfigError):
        require_fingerprint(bytes(32), stated, party=PLATFORM)
