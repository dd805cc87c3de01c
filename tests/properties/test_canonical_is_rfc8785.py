"""Canonical JSON is what the reference implementation of RFC 8785 writes, whatever the text."""

from __future__ import annotations

from typing import Any

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from psishare.keys import canonical

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text(
    st.characters(max_codepoint=0x7F)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_canonical_json_is_what_the_reference_writes(value: dict[str, Any]) -> None:
    assert canonical.dumps(value) == rfc8785.dumps(value)
