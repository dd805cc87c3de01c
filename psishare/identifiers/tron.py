"""Tron addresses (identifiers.md, 19)."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import pyarrow.compute as pc
from stdnum.bitcoin import b58decode

from psishare.identifiers.kind import Kind
from psishare.identifiers.reject import Reason, Unacceptable

if TYPE_CHECKING:
    import pyarrow as pa

_FORM = r"\A41[0-9a-f]{40}\z"
_HEXADECIMAL = re.compile("(?:0[xX])?(41[0-9a-fA-F]{40})")
_BASE58 = re.compile("T[1-9A-HJ-NP-Za-km-z]{33}")
_VERSION = 0x41
_ADDRESS_BYTES = 21
_CHECKSUM_BYTES = 4


class Tron(Kind):
    """A Tron address."""

    name = "tron"
    summary = "Tron address, hexadecimal with its leading 41"
    note = "Base58 (T..., its checksum verified) and hexadecimal (41...) of one address are equal."

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Take ``41`` and forty lower-case hexadecimal digits."""
        return pc.match_substring_regex(values, _FORM)

    def respelled(self, values: pa.Array, region: str | None) -> pa.Array:  # noqa: ARG002
        """Write capitals small; a Base58 address does not become a hexadecimal one by that."""
        return pc.ascii_lower(values)

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the address in hexadecimal."""
        hexadecimal = _HEXADECIMAL.fullmatch(value)
        if hexadecimal is not None:
            return hexadecimal[1].lower()
        if not _BASE58.fullmatch(value):
            raise Unacceptable(Reason.MALFORMED)
        data = b58decode(value)
        address, checksum = data[:_ADDRESS_BYTES], data[_ADDRESS_BYTES:]
        if len(checksum) != _CHECKSUM_BYTES or address[0] != _VERSION:
            raise Unacceptable(Reason.MALFORMED)
        if _double_sha256(address)[:_CHECKSUM_BYTES] != checksum:
            raise Unacceptable(Reason.CHECKSUM)
        return address.hex()


def _double_sha256(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()
