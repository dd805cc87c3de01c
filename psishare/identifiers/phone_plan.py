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


@dataclass(frozen=True, slots=True)
class _Dialling:
    """How numbers are dialled in one region, all in plain digits.

    Attributes:
        code: the calling code.
        exit: what stands before another country's calling code.
        prefix: the national prefix; empty where there is none.
        national: the pattern of numbers that begin with neither ``exit`` nor ``code``.
        numbers: the pattern of national numbers.
    """

    code: str
    exit: str
    prefix: str
    national: str
    numbers: str


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


def with_calling_code(values: pa.Array, region: str | None) -> pa.Array:
    """Write numbers as they are dialled in a region with their plus and calling code.

    Only where libphonenumber would do the same and nothing else: an exit code before a calling code,
    or a number of the region with its national prefix or without. Where the parser would look at more
    than that, the value stays as it is.

    Args:
        values: ``large_string``, shape ``(n,)``; nulls allowed.
        region: where they are dialled, or None.
    """
    dialling = None if region is None else _dialling(region)
    if dialling is None:
        return values
    abroad = pc.match_substring_regex(values, rf"\A{dialling.exit}[1-9][0-9]*\z")
    national = pc.match_substring_regex(values, dialling.national)
    bare = national
    if dialling.prefix:
        prefixed = pc.starts_with(values, dialling.prefix)
        bare = pc.and_not(national, prefixed)
        # Where the number as it stands is one, the parser may leave its front.
        doubtful = pc.match_substring_regex(values, dialling.numbers)
        national = pc.and_not(pc.and_(national, prefixed), doubtful)
    return pc.case_when(
        pc.make_struct(abroad, national, bare),
        _front(values, dialling.exit, "+"),
        _front(values, dialling.prefix, f"+{dialling.code}"),
        _front(values, "", f"+{dialling.code}"),
        values,
    )


def _front(values: pa.Array, old: str, new: str) -> pa.Array:
    """Write ``new`` for ``old`` at the front of the values that begin with it."""
    return pc.replace_substring_regex(values, rf"\A{old}", new)


@cache
def _dialling(region: str) -> _Dialling | None:
    """Return how numbers are dialled in a region; None where patterns, not digits, say so."""
    plan = phonenumbers.PhoneMetadata.metadata_for_region(region, None)
    if plan is None or plan.general_desc is None or plan.country_code is None:
        return None
    if phonenumbers.region_code_for_country_code(plan.country_code) != region:
        return None
    code, exit_ = str(plan.country_code), plan.international_prefix or ""
    prefix = plan.national_prefix_for_parsing or ""
    numbers = plan.general_desc.national_number_pattern or ""
    if not exit_.isdigit() or not (prefix.isdigit() or not prefix) or not _readable(numbers):
        return None
    # Numbers that begin with the calling code may have it in front, or be numbers that begin so.
    others = "|".join(_not_beginning_with(exit_, code))
    return _Dialling(code, exit_, prefix, rf"\A(?:{others})[0-9]*\z", rf"\A(?:{numbers})\z")


def _not_beginning_with(*fronts: str) -> Iterator[str]:
    """Yield patterns of the shortest fronts of digits that leave the way to all of ``fronts``."""
    longest = max(map(len, fronts))
    open_ = [""]
    for _ in range(longest):
        longer = [front + digit for front in open_ for digit in "0123456789"]
        open_ = [front for front in longer if any(other.startswith(front) for other in fronts)]
        yield from (front for front in longer if front not in open_)
        open_ = [front for front in open_ if front not in fronts]


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
