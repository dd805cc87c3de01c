"""Recognises E.164 numbers on whole columns, by a table drawn from libphonenumber's metadata.

libphonenumber returns ``+``, calling code and national number as they stand when two things hold: the
national number has a possible length, and the pattern of the country's national prefix takes nothing
away from its front. Both are regular expressions over ASCII digits, so both can be asked of RE2. What
RE2 cannot express is left to the library, country by country.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING

import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORTEST_NATIONAL_NUMBER = 2
_LONGEST_NATIONAL_NUMBER = 17
_CAPTURE = re.compile(r"(?<!\\)\((?!\?)")


@dataclass(frozen=True, slots=True)
class _Country:
    code: int
    lengths: tuple[int, ...]
    prefix: str

    @property
    def number(self) -> str:
        """The pattern of calling code and a national number of possible length."""
        return f"{self.code}(?:{'|'.join(f'[0-9]{{{a},{b}}}' for a, b in _runs(self.lengths))})"


@dataclass(frozen=True, slots=True)
class _Plan:
    """Patterns over all countries.

    Attributes:
        numbers: calling codes with national numbers of possible length.
        prefixed: numbers whose front a national prefix would take away.
        optional: by calling code with its plus, prefixes that may also match nothing; only the
            length of the match tells whether they take anything away.
    """

    numbers: str
    prefixed: str
    optional: tuple[tuple[str, str], ...]


def is_e164(values: pa.Array) -> pa.Array:
    """Tell which values are E.164 numbers that libphonenumber would return unchanged.

    Args:
        values: ``large_string``, shape ``(n,)``; nulls allowed.

    Returns:
        ``bool``, shape ``(n,)``, null where the value is.
    """
    plan = _plan()
    prefixed = pc.match_substring_regex(values, plan.prefixed)
    for code, pattern in plan.optional:
        of_country = pc.starts_with(values, code)
        if pc.any(of_country).as_py():
            taken = pc.struct_field(pc.extract_regex(values, pattern), "taken")
            takes = pc.fill_null(pc.greater(pc.binary_length(taken), 0), fill_value=True)
            prefixed = pc.if_else(of_country, takes, prefixed)
    return pc.and_(pc.match_substring_regex(values, plan.numbers), pc.invert(prefixed))


@cache
def _plan() -> _Plan:
    countries = [country for country in _countries() if _readable(country.prefix)]
    fixed = [c for c in countries if c.prefix and not re.match(c.prefix, "")]
    optional = [c for c in countries if c.prefix and re.match(c.prefix, "")]
    return _Plan(
        numbers=rf"\A\+(?:{'|'.join(c.number for c in countries)})\z",
        prefixed=rf"\A\+(?:{'|'.join(f'{c.code}(?:{c.prefix})' for c in fixed)})",
        optional=tuple((f"+{c.code}", rf"\A\+{c.code}(?P<taken>{c.prefix})") for c in optional),
    )


def _countries() -> Iterator[_Country]:
    for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        region = phonenumbers.region_code_for_country_code(code)
        plan = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        if plan is None or plan.general_desc is None:
            continue
        lengths = tuple(
            length
            for length in plan.general_desc.possible_length
            if _SHORTEST_NATIONAL_NUMBER <= length <= _LONGEST_NATIONAL_NUMBER
        )
        if lengths:
            # Arrow's regular expressions know no unnamed groups where something is extracted.
            prefix = _CAPTURE.sub("(?:", plan.national_prefix_for_parsing or "")
            yield _Country(code, lengths, prefix)


def _readable(prefix: str) -> bool:
    try:
        pc.match_substring_regex(pa.array([""]), f"(?:{prefix})")
    except pa.ArrowInvalid:
        return False
    return True


def _runs(lengths: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    for _, group in groupby(enumerate(sorted(lengths)), key=lambda pair: pair[1] - pair[0]):
        run = [length for _, length in group]
        yield run[0], run[-1]
