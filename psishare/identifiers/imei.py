"""Mobile equipment identities: the device alone, fourteen digits (identifiers.md, 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc
from stdnum import imei

from psishare.identifiers.grouping import ungrouped, ungrouped_column
from psishare.identifiers.kind import Kind
from psishare.identifiers.reject import Reason, Unacceptable
from psishare.identifiers.standard_number import standard_number

if TYPE_CHECKING:
    import pyarrow as pa

_DEVICE_DIGITS = 14
_DEVICE = r"\A[0-9]{14}\z"
_NOTHING = "0" * _DEVICE_DIGITS


class Imei(Kind):
    """An International Mobile Equipment Identity."""

    name = "imei"
    summary = "mobile device, type allocation code and serial number"
    note = (
        "The check digit is verified, then dropped, and so is the software version of an IMEISV: all"
        " three forms of one device are equal. Networks that write 0 for the check digit are refused."
    )

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Take fourteen digits that are not all zero."""
        device = pc.match_substring_regex(values, _DEVICE)
        return pc.and_(device, pc.not_equal(values, _NOTHING))

    def respelled(self, values: pa.Array, region: str | None) -> pa.Array:  # noqa: ARG002
        """Drop spaces and hyphens."""
        return ungrouped_column(values)

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the device's digits as ``stdnum.imei`` finds them."""
        device = standard_number(imei.validate, ungrouped(value, also="/"))[:_DEVICE_DIGITS]
        if device == _NOTHING:
            raise Unacceptable(Reason.PLACEHOLDER)
        return device
