"""Passports: who issued it and its number, ICAO Doc 9303 (identifiers.md, 16)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import iso3166
import pyarrow.compute as pc

from psishare.errors import InputError
from psishare.identifiers.grouping import ungrouped
from psishare.identifiers.kind import Kind
from psishare.identifiers.reject import Reason, Unacceptable

if TYPE_CHECKING:
    import pyarrow as pa

# Doc 9303 part 3, section 5: codes beyond ISO 3166-1 that issue travel documents.
_ICAO = frozenset(
    [
        "EUE",
        "GBD",
        "GBN",
        "GBO",
        "GBP",
        "GBS",
        "RKS",
        "UNA",
        "UNK",
        "UNO",
        "XBA",
        "XCC",
        "XCE",
        "XCO",
        "XDC",
        "XEC",
        "XES",
        "XIM",
        "XMP",
        "XOM",
        "XPO",
        "XXA",
        "XXB",
        "XXC",
        "XXX",
    ]
)
# As Germany writes itself in the machine-readable zone, and as Kosovo is written by some.
_ALIASES = {"D": "DEU", "XKX": "RKS"}
_ISSUERS = (frozenset(iso3166.countries_by_alpha3) | _ICAO) - frozenset(_ALIASES)
_CANONICAL = rf"\A(?:{'|'.join(sorted(_ISSUERS))}):[A-Z0-9]{{5,9}}\z"
_DIGIT = "[0-9]"
_WITH_ISSUER = re.compile("([A-Z]{1,3})<{0,2}[:/](.*)", re.DOTALL)
_NUMBER = re.compile("[A-Z0-9]{5,9}")


class Passport(Kind):
    """A passport of one issuing state or organisation."""

    name = "passport"
    summary = "passport, issuing state and number"
    note = (
        "A number alone names no passport, so the issuer's three letters stand before it, as in"
        " DEU:C01X00T47; where a value has none, the region given is taken. The letter O and the digit"
        " 0 are kept apart."
    )
    takes_region = True

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Take an issuer's code, a colon, and five to nine capitals and digits with a digit among them."""
        form = pc.match_substring_regex(values, _CANONICAL)
        return pc.and_(form, pc.match_substring_regex(values, _DIGIT))

    def canonical(self, value: str, region: str | None) -> str:
        """Return issuer, colon and number."""
        text = ungrouped(value)
        text = text.upper() if text.isascii() else text
        issuer, number = _parts(text, region)
        number = number.rstrip("<")
        if not _NUMBER.fullmatch(number) or number.isalpha():
            raise Unacceptable(Reason.MALFORMED)
        if issuer not in _ISSUERS:
            raise Unacceptable(Reason.UNKNOWN_ISSUER)
        return f"{issuer}:{number}"

    def require_region(self, region: str | None) -> None:
        """Refuse a region that is no country of ISO 3166-1."""
        if region is not None and region not in iso3166.countries_by_alpha2:
            raise InputError(
                "the default region is no country that issues passports",
                mend="Give an ISO 3166-1 code of two capital letters, such as DE.",
                reason="region_unknown",
            )


def _parts(text: str, region: str | None) -> tuple[str, str]:
    named = _WITH_ISSUER.fullmatch(text)
    if named:
        issuer, number = named.groups()
    elif region is None:
        raise Unacceptable(Reason.NO_ISSUER)
    else:
        issuer, number = iso3166.countries_by_alpha2[region].alpha3, text
    return _ALIASES.get(issuer, issuer), number
