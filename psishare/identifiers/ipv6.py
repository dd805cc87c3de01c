"""IPv6 addresses in the text form of RFC 5952 (identifiers.md, 6)."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv6Address
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from psishare.identifiers.kind import Kind
from psishare.identifiers.reject import Reason, Unacceptable

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP = "(?:0|[1-9a-f][0-9a-f]{0,3})"
_WHOLE = rf"{_GROUP}(?::{_GROUP}){{7}}"
_SHORTENED = "|".join(
    # ``before`` groups in front of ``::`` and at most 6 in all, so that it stands for two or more.
    (f"{_GROUP}(?::{_GROUP}){{{before - 1}}}" if before else "")
    + "::"
    + (f"(?:{_GROUP}(?::{_GROUP}){{0,{5 - before}}})?" if before < 6 else "")
    for before in range(7)
)
_FORM = rf"\A(?:{_WHOLE}|{_SHORTENED})\z"
# What may be written shorter, or may compete with ``::`` as the longest run of zeros: two zero groups
# side by side, or one beside ``::``. And IPv4-mapped addresses, which are written with dots.
_DOUBTFUL = r"(?:\A|:)0:0(?::|\z)|(?:\A|:)0::|::0(?::|\z)|\A::ffff:[0-9a-f]{1,4}:[0-9a-f]{1,4}\z"


class IPv6(Kind):
    """An IPv6 address."""

    name = "ipv6"
    summary = "IPv6 address, as RFC 5952 writes it"
    note = "An IPv4-mapped address stays an ipv6 identifier and never equals the ipv4 one."

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Take lower-case groups without leading zeros whose zero runs leave no choice."""
        form = pc.match_substring_regex(values, _FORM)
        return pc.and_(form, pc.invert(pc.match_substring_regex(values, _DOUBTFUL)))

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the address as RFC 5952 writes it."""
        if "%" in value:
            raise Unacceptable(Reason.ZONE_ID)
        try:
            address = IPv6Address(value)
        except AddressValueError:
            address = None
        if address is None:
            raise Unacceptable(Reason.MALFORMED)
        # Python writes mapped addresses with dots from 3.13 on only.
        mapped = address.ipv4_mapped
        return str(address) if mapped is None else f"::ffff:{mapped}"
