"""Bitcoin addresses of the main network (identifiers.md, 17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stdnum import bitcoin
from stdnum.exceptions import ValidationError

from psishare.identifiers.kind import Kind, settles_nothing
from psishare.identifiers.reject import Reason, Unacceptable
from psishare.identifiers.standard_number import standard_number

if TYPE_CHECKING:
    import pyarrow as pa

_URI = "bitcoin:"
_SEGWIT = "bc1"
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_PREFIX_VALUES = [3, 3, 0, 2, 3]  # "bc", expanded (BIP 173)
_BECH32, _BECH32M = 1, 0x2BC830A3  # BIP 173, BIP 350
_CHECKSUM_LETTERS = 6
_MAX_LETTERS = 90
_MAX_VERSION = 16
_VERSION_0_BYTES = frozenset({20, 32})


class Bitcoin(Kind):
    """A Bitcoin address."""

    name = "bitcoin"
    summary = "Bitcoin address of the main network"
    note = (
        "Base58 (1..., 3...), bech32 and bech32m (bc1...) are taken as they are: addresses of one"
        " owner, or of one key in another form, are different identifiers. Test networks are refused."
    )

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Leave all to the library: a checksum is no regular expression."""
        return settles_nothing(values)

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the address, segregated-witness ones in lower case."""
        address = value[len(_URI) :] if value[: len(_URI)].lower() == _URI else value
        if not (address.isascii() and address.isalnum()):
            raise Unacceptable(Reason.MALFORMED)
        if address[: len(_SEGWIT)].lower() == _SEGWIT:
            return _segwit(address)
        if address[0] not in "13":
            raise Unacceptable(Reason.MALFORMED)
        return standard_number(bitcoin.validate, address)


def _segwit(address: str) -> str:
    lower = address.lower()
    if address not in {lower, address.upper()} or len(address) > _MAX_LETTERS:
        raise Unacceptable(Reason.MALFORMED)
    values = [_ALPHABET.find(letter) for letter in lower[len(_SEGWIT) :]]
    if -1 in values or len(values) <= _CHECKSUM_LETTERS or values[0] > _MAX_VERSION:
        raise Unacceptable(Reason.MALFORMED)
    # ``stdnum`` has bech32 alone, which BIP 350 keeps for version 0.
    expected = _BECH32M if values[0] else _BECH32
    if bitcoin.bech32_checksum(_PREFIX_VALUES + values) != expected:
        raise Unacceptable(Reason.CHECKSUM)
    n_bytes = len(_program(values[1:-_CHECKSUM_LETTERS]))
    if not 2 <= n_bytes <= 40 or (values[0] == 0 and n_bytes not in _VERSION_0_BYTES):
        raise Unacceptable(Reason.MALFORMED)
    return lower


def _program(values: list[int]) -> bytes:
    try:
        return bytes(bitcoin.b32decode(values))
    except ValidationError:
        pass
    raise Unacceptable(Reason.MALFORMED)
