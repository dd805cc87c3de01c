from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psishare.errors import InputError, VerificationError
from psishare.keys import canonical

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=12,
)


def loads(data: bytes) -> dict[str, Any]:
    return canonical.loads(data, max_bytes=1000, what="the paper")


def test_keys_are_sorted_by_utf_16_units() -> None:
    # RFC 8785, section 3.2.3: the emoji's surrogates sort before the ligature.
    value = {"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3, "1": 4, "\r": 5}
    assert canonical.dumps(value) == (
        '{"\\r":5,"1":4,"\u20ac":3,"\U0001f600":2,"\ufb33":1}'.encode()
    )


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), plain))
def test_what_is_written_is_read_again(value: dict[str, Any]) -> None:
    data = canonical.dumps(value)
    assert canonical.loads(data, max_bytes=len(data), what="it") == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"1",
        b'"a"',
        b"null",
        b"{",
        b'{"a":1} ',
        b' {"a":1}',
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":9007199254740992}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\n"}',
        b'{"a":' + b"9" * 900 + b"}",
        b'{"a":' + b"[" * 400 + b"]" * 400 + b"}",
    ],
)
def test_another_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(VerificationError) as caught:
        loads(data)
    assert caught.value.reason == "document_malformed"
    assert "the paper" in caught.value.message


def test_nesting_deeper_than_the_interpreter_bears_is_refused() -> None:
    data = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(VerificationError):
        canonical.loads(data, max_bytes=len(data), what="it")


def test_a_document_above_its_limit_is_not_looked_at() -> None:
    with pytest.raises(VerificationError, match="longer than 1000 bytes"):
        loads(b"{" * 1001)


def test_an_error_never_quotes_the_content() -> None:
    with pytest.raises(VerificationError) as caught:
        loads(b'{"phone":"+49 151 23456789",}')
    assert "23456789" not in caught.value.diagnostics()


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1.5},
        {"a": 2**53},
        {1: "a"},
        {"a": b"x"},
        {"a": ("x",)},
        {"a": "\ud800"},
        {"\ud800": 1},
    ],
)
def test_what_other_implementations_could_misread_is_not_written(value: object) -> None:
    with pytest.raises(InputError):
        canonical.dumps(value)


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_raise_nothing_but_ours(data: bytes) -> None:
    with contextlib.suppress(VerificationError):
        assert canonical.dumps(loads(data)) == data
