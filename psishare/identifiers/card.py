"""Payment card numbers, ISO/IEC 7812-1 (identifiers.md, 12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stdnum import luhn

from psishare.identifiers.grouping import ungrouped
from psishare.identifiers.kind import Kind, settles_nothing
from psishare.identifiers.reject import Reason, Unacceptable
from psishare.identifiers.standard_number import standard_number

if TYPE_CHECKING:
    import pyarrow as pa

_SHORTEST, _LONGEST = 12, 19


class Card(Kind):
    """A payment card's primary account number."""

    name = "card"
    summary = "payment card number, Luhn checked"
    note = (
        "A card's domain is small: of sixteen digits six to eight name the issuer, which is public,"
        " and one is a check digit, so an issuer has 10^7 to 10^9 numbers. Whoever may ask without"
        " limit can ask for all of them. The mandate's cap on rows is what prevents that: set it to"
        " the length of the list."
    )

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Leave all to the library: a check digit is no regular expression."""
        return settles_nothing(values)

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the digits, of which ``stdnum.luhn`` has checked the last."""
        number = ungrouped(value)
        if not (number.isascii() and number.isdigit() and _SHORTEST <= len(number) <= _LONGEST):
            raise Unacceptable(Reason.MALFORMED)
        if not number.strip("0"):
            raise Unacceptable(Reason.PLACEHOLDER)
        return standard_number(luhn.validate, number)
