"""Ethereum addresses, and those of every chain that shares them (identifiers.md, 18)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow.compute as pc
from Crypto.Hash import keccak

from psishare.identifiers.kind import Kind
from psishare.identifiers.reject import Reason, Unacceptable

if TYPE_CHECKING:
    import pyarrow as pa

_ADDRESS = re.compile("(?:0[xX])?([0-9a-fA-F]{40})")
_FORM = r"\A0x[0-9a-f]{40}\z"
_WITHOUT_MIXED_CASE = r"\A0[xX](?:[0-9a-f]{40}|[0-9A-F]{40})\z"


class Ethereum(Kind):
    """An Ethereum address."""

    name = "ethereum"
    summary = "Ethereum address, forty hexadecimal digits"
    note = (
        "Mixed case is a checksum (EIP-55) and is verified; one case only says nothing and is taken."
        " Chains that share the addresses share the kind: a namespace sets them apart, if need be."
    )

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Take ``0x`` and forty lower-case hexadecimal digits."""
        return pc.match_substring_regex(values, _FORM)

    def respelled(self, values: pa.Array, region: str | None) -> pa.Array:  # noqa: ARG002
        """Write what has one case only in lower case."""
        plain = pc.match_substring_regex(values, _WITHOUT_MIXED_CASE)
        return pc.if_else(plain, pc.ascii_lower(values), values)

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the address in lower case, its checksum verified."""
        found = _ADDRESS.fullmatch(value)
        if found is None:
            raise Unacceptable(Reason.MALFORMED)
        digits = found[1]
        lower = digits.lower()
        if digits not in {lower, digits.upper()} and digits != _checksummed(lower):
            raise Unacceptable(Reason.CHECKSUM)
        return f"0x{lower}"


def _checksummed(lower: str) -> str:
    """Return the digits in the case that EIP-55 gives them."""
    digest = keccak.new(digest_bits=256, data=lower.encode()).hexdigest()
    return "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit
        for digit, nibble in zip(lower, digest, strict=False)
    )
