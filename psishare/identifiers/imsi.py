"""Mobile subscriber identities, ITU-T E.212 (identifiers.md, 11)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pyarrow.compute as pc
from stdnum import imsi

from psishare.identifiers.grouping import ungrouped, ungrouped_column
from psishare.identifiers.kind import Kind
from psishare.identifiers.standard_number import standard_number

if TYPE_CHECKING:
    import pyarrow as pa


class Imsi(Kind):
    """An International Mobile Subscriber Identity."""

    name = "imsi"
    summary = "mobile subscriber (SIM), fourteen or fifteen digits"
    note = "The mobile country code must be assigned; whether the network exists is not asked."

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Take fourteen or fifteen digits of a country that ``stdnum`` knows."""
        return pc.match_substring_regex(values, _of_countries())

    def respelled(self, values: pa.Array, region: str | None) -> pa.Array:  # noqa: ARG002
        """Drop spaces and hyphens."""
        return ungrouped_column(values)

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the digits as ``stdnum.imsi`` takes them."""
        return standard_number(imsi.validate, ungrouped(value))


@cache
def _of_countries() -> str:
    """Return a pattern of all numbers whose country code is one of those that the library has."""
    known = [f"{code:03}" for code in range(1000) if imsi.is_valid(f"{code:03}{0:011}")]
    return rf"\A(?:{'|'.join(known)})[0-9]{{11,12}}\z"
