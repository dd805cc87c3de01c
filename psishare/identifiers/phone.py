"""Phone numbers in E.164, as libphonenumber reads them (identifiers.md, 3)."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import phonenumbers
import pyarrow.compute as pc
from phonenumbers import NumberParseException, PhoneNumberFormat, ValidationResult

from psishare.errors import InputError
from psishare.identifiers.kind import Kind
from psishare.identifiers.phone_plan import is_e164, with_calling_code
from psishare.identifiers.reject import Reason, Unacceptable
from psishare.identifiers.white_space import WHITE_SPACE

if TYPE_CHECKING:
    import pyarrow as pa

_URI = re.compile("tel:", re.IGNORECASE)
_PUNCTUATION = frozenset(
    "-()[]./~+\uff0b\u00ad\u200b\u2010\u2011\u2012\u2013\u2014\u2015\u2060\u2212\u2053\u223c\u30fc"
    "\uff08\uff09\uff0d\uff0e\uff0f\uff3b\uff3d\uff5e" + WHITE_SPACE
)
_LENGTH_FAULTS = frozenset(
    {
        NumberParseException.TOO_SHORT_AFTER_IDD,
        NumberParseException.TOO_SHORT_NSN,
        NumberParseException.TOO_LONG,
    }
)
_LONGEST_PARSED = 250
# Of these the parser takes digits only, wherever they stand behind the plus or the first digit.
_PUNCTUATED = r"\A\(?[+0-9][0-9 ().-]*\z"
_DROPPED = r"[ ().-]"


class Phone(Kind):
    """A phone number."""

    name = "phone"
    summary = "phone number, E.164"
    note = (
        "Numbers of a possible length are taken, assigned or not. Those without a country "
        "calling code are read with the region given."
    )
    takes_region = True

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Take E.164 of a possible length from which the parser removes no national prefix."""
        return is_e164(values)

    def respelled(self, values: pa.Array, region: str | None) -> pa.Array:
        """Drop spaces, dots, hyphens and parentheses, and write the calling code, as the parser does."""
        parsed = pc.less_equal(pc.binary_length(values), _LONGEST_PARSED)
        punctuated = pc.and_(parsed, pc.match_substring_regex(values, _PUNCTUATED))
        bare = pc.replace_substring_regex(values, _DROPPED, "")
        return pc.if_else(punctuated, with_calling_code(bare, region), values)

    def canonical(self, value: str, region: str | None) -> str:
        """Return the number as ``phonenumbers`` parses it, in E.164."""
        value = _URI.sub("", value, count=1) if _URI.match(value) else value
        number = _parsed(value, region)
        if number.extension:
            raise Unacceptable(Reason.EXTENSION)
        _require_characters(value)
        possible = phonenumbers.is_possible_number_with_reason(number)
        if possible == ValidationResult.IS_POSSIBLE_LOCAL_ONLY:
            raise Unacceptable(Reason.LOCAL_ONLY)
        if possible != ValidationResult.IS_POSSIBLE:
            raise Unacceptable(Reason.NOT_POSSIBLE)
        return str(phonenumbers.format_number(number, PhoneNumberFormat.E164))

    def require_region(self, region: str | None) -> None:
        """Refuse a region that libphonenumber does not support."""
        if region is not None and region not in phonenumbers.SUPPORTED_REGIONS:
            raise InputError(
                "the default region is not one that phone numbers can be read with",
                mend="Give an ISO 3166-1 code of two capital letters, such as DE.",
                reason="region_unknown",
            )


def _parsed(value: str, region: str | None) -> phonenumbers.PhoneNumber:
    try:
        return phonenumbers.parse(value, region)
    except NumberParseException as fault:
        # Its message may quote the value: only its type goes on.
        error_type = fault.error_type
    if _has_letters(value):
        raise Unacceptable(Reason.LETTERS)
    if error_type == NumberParseException.INVALID_COUNTRY_CODE:
        raise Unacceptable(Reason.NO_COUNTRY)
    if error_type in _LENGTH_FAULTS:
        raise Unacceptable(Reason.NOT_POSSIBLE)
    raise Unacceptable(Reason.MALFORMED)


def _require_characters(value: str) -> None:
    if _has_letters(value):
        raise Unacceptable(Reason.LETTERS)
    if not all(c in _PUNCTUATION or unicodedata.category(c) == "Nd" for c in value):
        raise Unacceptable(Reason.MALFORMED)


def _has_letters(value: str) -> bool:
    return any(unicodedata.category(c)[0] == "L" and c not in _PUNCTUATION for c in value)
