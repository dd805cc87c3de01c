"""Takes away how people group the characters of a number, which says nothing (identifiers.md, 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc

from psishare.identifiers.white_space import WHITE_SPACE

if TYPE_CHECKING:
    import pyarrow as pa

_HYPHENS = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d"
_WIDE = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}
_DROPPED = {ord(c): None for c in WHITE_SPACE + _HYPHENS}
_UNGROUP = _WIDE | _DROPPED


def ungrouped(value: str, *, also: str = "") -> str:
    """Return the value in ASCII's width, without white space and hyphens.

    Args:
        value: one value.
        also: further ASCII characters that group this kind's values, and are dropped.
    """
    bare = value.translate(_UNGROUP)
    return bare.translate({ord(c): None for c in also}) if also else bare


def ungrouped_column(values: pa.Array) -> pa.Array:
    """Do the same to a column, as far as ASCII goes: drop spaces and hyphens.

    Args:
        values: ``large_string``, shape ``(n,)``; nulls allowed.

    Returns:
        ``large_string``, shape ``(n,)``.
    """
    return pc.replace_substring_regex(values, "[ -]", "")
