"""The request: a list prepared for a mandate, as its file goes from the authority to the validator.

A head that everyone may read, then the secret and the list once for each reader, sealed to its key. The
secret is the seed of a sealed request, or the salt of an input commitment.
Source: protocols/specs/mandate.md, section 16.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import pyarrow as pa
from pydantic import Field

from psishare.errors import ConfigError, InputError, VerificationError
from psishare.exchange.document import MAX_BYTES as MAX_HEAD_BYTES
from psishare.exchange.document import Digest, Document, Name, PartyId, Time
from psishare.identifiers.kind import SEPARATOR
from psishare.keys.sealing import seal
from psishare.mandates.sealed_request import SealedRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psishare.keys.sealing import Unsealer
    from psishare.parties.card import Card

INFO = b"psishare/request/v1"
SECRET_BYTES = 32
LENGTH_BYTES = 4
MAX_VALUE_BYTES = 65_535
MAX_FILE_BYTES = 2**31


class Reader(Document):
    """A party to which the list is sealed, and how long its sealed text is."""

    party: PartyId
    bytes: Annotated[int, Field(ge=1, le=MAX_FILE_BYTES)]


class RequestHead(Document):
    """What everyone may know of a prepared list."""

    version: Literal[1] = 1
    authority: PartyId
    platform: PartyId
    dataset: Name
    kind: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9./-]{0,64}$")]
    rows: Annotated[int, Field(ge=1, le=2**53 - 1)]
    input_commitment: Digest | None
    sealed_request: SealedRequest | None
    readers: Annotated[tuple[Reader, ...], Field(min_length=1, max_length=16, strict=False)]
    created: Time

    @property
    def digest(self) -> bytes:
        """What names the request: the sealed request's digest, or the commitment; 32 bytes."""
        if self.sealed_request is not None:
            return self.sealed_request.digest
        return bytes.fromhex(self.input_commitment or "")

    @property
    def prefix(self) -> bytes:
        """What every canonical identifier of this kind and namespace begins with."""
        return f"{self.kind}{SEPARATOR}{self.namespace}{SEPARATOR}".encode("ascii")


@dataclass(frozen=True, slots=True)
class OpenedRequest:
    """A request with its list, as one of its readers has opened it.

    Attributes:
        head: what everyone may know.
        secret: the seed or the salt, 32 bytes.
        identifiers: the distinct canonical values, ``large_binary``, in first-occurrence order.
    """

    head: RequestHead
    secret: bytes = field(repr=False)
    identifiers: pa.Array = field(repr=False)

    def values(self) -> list[bytes]:
        """Return the identifiers without their kind and namespace, as a person reads them."""
        prefix = self.head.prefix
        return [value.removeprefix(prefix) for value in self.identifiers.to_pylist()]


def write_request(
    head: RequestHead, secret: bytes, identifiers: pa.Array, readers: Iterable[Card]
) -> bytes:
    """Return a request's file.

    Args:
        head: complete, but for its readers.
        secret: the seed or the salt, 32 bytes.
        identifiers: the distinct canonical values, in first-occurrence order.
        readers: the cards of those who may open it.
    """
    plain = secret + _pack(identifiers)
    sealed = [
        (card.id, seal(card.sealing_key_bytes, plain, info=INFO, aad=head.digest))
        for card in sorted(readers, key=lambda card: card.id)
    ]
    named = tuple(Reader(party=party, bytes=len(text)) for party, text in sealed)
    document = head.model_copy(update={"readers": named}).document()
    return b"".join([document, b"\n", *(text for _party, text in sealed)])


def read_request(data: bytes) -> RequestHead:
    """Parse a request's head strictly, and check that the file has the length that it says.

    Raises:
        InputError: ``request_malformed``.
    """
    return _split(data)[0]


def open_request(data: bytes, party: str, key: Unsealer) -> OpenedRequest:
    """Open a request that was sealed to a party.

    Raises:
        InputError: ``request_malformed``.
        ConfigError: ``request_not_for_us``, the party is none of its readers.
        VerificationError: it was sealed to another key, or is damaged.
    """
    head, position = _split(data)
    for reader in head.readers:
        if reader.party == party:
            plain = key.open(data[position : position + reader.bytes], info=INFO, aad=head.digest)
            return OpenedRequest(head, plain[:SECRET_BYTES], _unpack(plain[SECRET_BYTES:]))
        position += reader.bytes
    raise ConfigError(
        f"the request is not sealed to {party}",
        mend="Have the authority prepare it again with `psishare mandate request --for` your card.",
        reason="request_not_for_us",
    )


def _split(data: bytes) -> tuple[RequestHead, int]:
    end = data.find(b"\n", 0, MAX_HEAD_BYTES + 1)
    if end < 0:
        raise _malformed("has no head")
    try:
        head = RequestHead.parse(data[:end])
    except VerificationError as error:
        raise _malformed(f"has a head that is none: {error.message}") from None
    if (head.sealed_request is None) == (head.input_commitment is None):
        raise _malformed("is neither of a sealed request nor of an input commitment")
    names = [reader.party for reader in head.readers]
    if names != sorted(set(names)):
        raise _malformed("names its readers in another order, or twice")
    if len(data) != end + 1 + sum(reader.bytes for reader in head.readers):
        raise _malformed("has another length than its head says")
    return head, end + 1


def _pack(identifiers: pa.Array) -> bytes:
    parts = []
    for value in identifiers.to_pylist():
        parts += [len(value).to_bytes(LENGTH_BYTES, "big"), value]
    return b"".join(parts)


def _unpack(data: bytes) -> pa.Array:
    values, position = [], 0
    while position < len(data):
        start = position + LENGTH_BYTES
        length = int.from_bytes(data[position:start], "big")
        position = start + length
        if length > MAX_VALUE_BYTES or position > len(data):
            raise _malformed("holds a list that cannot be read")
        values.append(data[start:position])
    return pa.array(values, pa.large_binary())


def _malformed(fault: str) -> InputError:
    return InputError(
        f"the request {fault}",
        mend="Get the file again from the authority, as `psishare mandate request` wrote it.",
        reason="request_malformed",
    )
