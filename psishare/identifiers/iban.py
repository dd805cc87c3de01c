"""Bank account numbers, ISO 13616 (identifiers.md, 13)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stdnum import iban

from psishare.identifiers.grouping import ungrouped
from psishare.identifiers.kind import Kind, settles_nothing
from psishare.identifiers.reject import Reason, Unacceptable
from psishare.identifiers.standard_number import standard_number

if TYPE_CHECKING:
    import pyarrow as pa

_FORM = re.compile("[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}")
# ISO 7064 gives 02 to 98. The others fit the same account a second time.
_NO_CHECK_DIGITS = frozenset({"00", "01", "99"})


class Iban(Kind):
    """An International Bank Account Number."""

    name = "iban"
    summary = "bank account number, ISO 13616"
    note = (
        "The country's structure and the check digits must fit; national check digits within the"
        " account number are not looked at."
    )

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Leave all to the library: check digits are no regular expression."""
        return settles_nothing(values)

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the number in capitals, as ``stdnum.iban`` takes it."""
        number = ungrouped(value, also=".")
        if number.isascii():
            number = number.upper().removeprefix("IBAN").removeprefix(":")
        if not _FORM.fullmatch(number):
            raise Unacceptable(Reason.MALFORMED)
        if number[2:4] in _NO_CHECK_DIGITS:
            raise Unacceptable(Reason.CHECKSUM)
        return standard_number(_validated, number)


def _validated(number: str) -> str:
    return str(iban.validate(number, check_country=False))
