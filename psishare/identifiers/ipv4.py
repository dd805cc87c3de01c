"""IPv4 addresses: strict dotted decimal (identifiers.md, 5)."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from psishare.identifiers.kind import Kind
from psishare.identifiers.reject import Reason, Unacceptable

if TYPE_CHECKING:
    import pyarrow as pa

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_DOTTED = rf"\A{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}\z"
_FOUR_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+){3}")


class IPv4(Kind):
    """An IPv4 address."""

    name = "ipv4"
    summary = "IPv4 address, dotted decimal"
    note = "Numbers with leading zeros are refused, for some read them as octal."

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Take dotted decimal without leading zeros: there is no other form."""
        return pc.match_substring_regex(values, _DOTTED)

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the address as ``ipaddress`` writes it."""
        try:
            return str(IPv4Address(value))
        except AddressValueError:
            reason = _why(value)
        raise Unacceptable(reason)


def _why(value: str) -> Reason:
    if _FOUR_NUMBERS.fullmatch(value):
        numbers = value.split(".")
        if any(len(n) > 1 and n[0] == "0" and int(n[-4:]) <= 255 for n in numbers):
            return Reason.LEADING_ZERO
    return Reason.MALFORMED
