"""Hardware addresses of network interfaces, EUI-48 (identifiers.md, 14)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow.compute as pc
from stdnum import mac

from psishare.identifiers.kind import Kind
from psishare.identifiers.reject import Reason, Unacceptable
from psishare.identifiers.standard_number import standard_number

if TYPE_CHECKING:
    import pyarrow as pa

_NOTHING = ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff")
_FORM = r"\A[0-9a-f]{2}(?::[0-9a-f]{2}){5}\z"
_OCTETS = re.compile("[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\\1){4}[0-9A-Fa-f]{2}")
_WHOLE = re.compile(r"[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}|[0-9A-Fa-f]{12}")


class Mac(Kind):
    """A network interface's hardware address."""

    name = "mac"
    summary = "hardware address of a network interface, EUI-48"
    note = (
        "Addresses that a device made up for itself are taken as any other: they match as long as the"
        " device keeps them. All zeros and all ones name nothing and are refused."
    )

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Take six lower-case octets with colons between them."""
        form = pc.match_substring_regex(values, _FORM)
        for nothing in _NOTHING:
            form = pc.and_(form, pc.not_equal(values, nothing))
        return form

    def respelled(self, values: pa.Array, region: str | None) -> pa.Array:  # noqa: ARG002
        """Write hyphens as colons, in lower case, where there is one or the other."""
        lower = pc.ascii_lower(values)
        hyphens = pc.invert(pc.match_substring(values, ":"))
        return pc.if_else(hyphens, pc.replace_substring(lower, "-", ":"), lower)

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the address as ``stdnum.mac`` writes it."""
        if _OCTETS.fullmatch(value):
            text = value
        elif _WHOLE.fullmatch(value):
            digits = value.replace(".", "")
            text = ":".join(digits[start : start + 2] for start in range(0, 12, 2))
        else:
            raise Unacceptable(Reason.MALFORMED)
        address = standard_number(_validated, text)
        if address in _NOTHING:
            raise Unacceptable(Reason.PLACEHOLDER)
        return address


def _validated(address: str) -> str:
    return str(mac.validate(address, validate_manufacturer=False))
