"""Chinese resident identity numbers, GB 11643 (identifiers.md, 15)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stdnum.cn import ric
from stdnum.exceptions import ValidationError

from psishare.identifiers.grouping import ungrouped
from psishare.identifiers.kind import Kind, settles_nothing
from psishare.identifiers.reject import Reason, Unacceptable

if TYPE_CHECKING:
    import pyarrow as pa

_LONG = re.compile("[1-9][0-9]{16}[0-9X]")
_SHORT = re.compile("[1-9][0-9]{14}")
_CENTURY = "19"
# In numbers of 15 digits these order codes were kept for people born before 1900.
_BORN_BEFORE_1900 = frozenset({"996", "997", "998", "999"})


class CnId(Kind):
    """A Chinese resident identity number."""

    name = "cn-id"
    summary = "Chinese resident identity number, eighteen characters"
    note = (
        "Numbers of fifteen digits, issued until 1999, become those of eighteen that replaced them."
        " Check digit and date of birth are verified; whether the place code is in a table of places is"
        " not, for places come and go. The domain is small: place, date and order code can be"
        " enumerated, and the mandate's cap on rows is what prevents it."
    )

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Leave all to the library: a check digit is no regular expression."""
        return settles_nothing(values)

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the number of eighteen characters, checked by ``stdnum.cn.ric``."""
        number = ungrouped(value)
        number = number.upper() if number.isascii() else number
        if _SHORT.fullmatch(number):
            number = _lengthened(number)
        elif not _LONG.fullmatch(number):
            raise Unacceptable(Reason.MALFORMED)
        if number[-1] != ric.calc_check_digit(number):
            raise Unacceptable(Reason.CHECKSUM)
        _require_date(number)
        return number


def _lengthened(number: str) -> str:
    if number[-3:] in _BORN_BEFORE_1900:
        raise Unacceptable(Reason.AMBIGUOUS)
    body = f"{number[:6]}{_CENTURY}{number[6:]}"
    return body + str(ric.calc_check_digit(f"{body}0"))


def _require_date(number: str) -> None:
    try:
        ric.get_birth_date(number)
    except ValidationError:
        exists = False
    else:
        exists = True
    if not exists:
        raise Unacceptable(Reason.NO_SUCH_DATE)
