"""The evidence bundle: one file, read and written record by record (protocols/specs/bundle.md).

Strict: what is out of order, of another length, or after the end is refused. Nothing is verified here
but that the file is whole; memory holds one record at a time.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal, Self

from pydantic import Field, model_validator

from psishare.audit.merkle import HASH_BYTES
from psishare.audit.tile import MAX_ENTRY_BYTES
from psishare.errors import AuditError, VerificationError
from psishare.exchange.document import Digest, Document, PartyId, Rows, Time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAGIC = b"psishare/bundle/v1\n"
MAX_BODY_BYTES = 524_288
MAX_PROOF_HASHES = 63
_PREFIX = struct.Struct(">BI")
_INDEX = struct.Struct(">Q")
_HASHES = tuple(struct.Struct(f"{HASH_BYTES}s" * n) for n in range(MAX_PROOF_HASHES + 1))
"""How proofs of so many hashes are laid out."""

MandateId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{16,64}$")]


class RecordType(IntEnum):
    """The types of records, in the order in which they stand in a file."""

    HEADER = 1
    HEAD = 2
    CARD = 3
    MANDATE = 4
    CHECKPOINT = 5
    ENTRY = 6
    END = 7


_ONCE = {RecordType.HEADER, RecordType.HEAD, RecordType.END}


class Header(Document):
    """Whose log a bundle is of, and which part of it; field by field as the specification has it."""

    version: Literal[1] = 1
    party: PartyId
    scope: Literal["all", "period", "mandate", "exchange"]
    since: Time | None = None
    until: Time | None = None
    mandate_id: MandateId | None = None
    exchange_id: Digest | None = None
    first: Rows | None = None
    end: Rows | None = None
    entries: Rows
    created: Time

    @model_validator(mode="after")
    def _of_one_scope(self) -> Self:
        period = (self.since, self.until, self.first, self.end)
        given = {
            "period": all(value is not None for value in period),
            "mandate": self.mandate_id is not None,
            "exchange": self.exchange_id is not None,
        }
        if any(value is not None for value in period) != given["period"]:
            raise ValueError("half a period")
        if [name for name, there in given.items() if there] != [
            name for name in given if name == self.scope
        ]:
            raise ValueError("fields of another scope")
        return self


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """An entry, where it stands, and the proof that it stands there: hashes of 32 bytes."""

    index: int
    entry: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class OlderCheckpoint:
    """A note that was signed before the head, and the consistency proof from it to the head."""

    note: bytes
    proof: tuple[bytes, ...]


class BundleWriter:
    """Writes a bundle; the caller keeps the order of records.

    Args:
        file: open for writing, at its beginning.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._write(MAGIC)

    def header(self, header: Header) -> None:
        """Write what the bundle is."""
        self._record(RecordType.HEADER, header.document())

    def head(self, note: bytes) -> None:
        """Write the log's newest checkpoint."""
        self._record(RecordType.HEAD, note)

    def card(self, card_file: bytes) -> None:
        """Write a card file."""
        self._record(RecordType.CARD, card_file)

    def mandate(self, envelope: bytes) -> None:
        """Write a mandate's envelope."""
        self._record(RecordType.MANDATE, envelope)

    def checkpoint(self, older: OlderCheckpoint) -> None:
        """Write an older checkpoint."""
        self._record(RecordType.CHECKPOINT, _join_proof(older.proof) + older.note)

    def entry(self, proven: ProvenEntry) -> None:
        """Write an entry with its proof."""
        prefix = _INDEX.pack(proven.index) + _join_proof(proven.proof)
        self._record(RecordType.ENTRY, prefix + proven.entry)

    def end(self) -> None:
        """Write the digest of everything before."""
        self._record(RecordType.END, self._digest.digest())

    def _record(self, kind: RecordType, body: bytes) -> None:
        self._write(_PREFIX.pack(kind, len(body)))
        self._write(body)

    def _write(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)


class BundleReader:
    """Reads a bundle in order: its head first, then each part as it is asked for.

    Args:
        file: open for reading, at its beginning.

    Attributes:
        header: what the bundle is.
        head: the log's newest checkpoint, a note; not verified.

    Raises:
        VerificationError: ``bundle_malformed``.
        AuditError: the file cannot be read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        if self._read(len(MAGIC)) != MAGIC:
            raise malformed("is no bundle of this version")
        self._digest.update(MAGIC)
        self._before_end = b""
        self._next = self._record()
        self.header = _parse_header(self._take(RecordType.HEADER))
        self.head = self._take(RecordType.HEAD)

    def cards(self) -> Iterator[bytes]:
        """Yield the card files."""
        yield from self._all(RecordType.CARD)

    def mandates(self) -> Iterator[bytes]:
        """Yield the mandates' envelopes, in increasing order of their SHA-256."""
        before = b""
        for envelope in self._all(RecordType.MANDATE):
            digest = hashlib.sha256(envelope).digest()
            if digest <= before:
                raise malformed("has its mandates in another order")
            before = digest
            yield envelope

    def checkpoints(self) -> Iterator[OlderCheckpoint]:
        """Yield the older checkpoints."""
        for body in self._all(RecordType.CHECKPOINT):
            proof, place = _split_proof(body, 0)
            yield OlderCheckpoint(body[place:], proof)

    def entries(self) -> Iterator[ProvenEntry]:
        """Yield the entries, in increasing order of indices; at the end the file is known to be whole."""
        before, found = -1, 0
        for body in self._all(RecordType.ENTRY):
            if len(body) < _INDEX.size:
                raise malformed("has an entry that is cut short")
            (index,) = _INDEX.unpack_from(body)
            proof, place = _split_proof(body, _INDEX.size)
            if index <= before or len(body) - place > MAX_ENTRY_BYTES:
                raise malformed("has its entries in another order, or one that is too long")
            before, found = index, found + 1
            yield ProvenEntry(index, body[place:], proof)
        self._finish(found)

    def _finish(self, found: int) -> None:
        if found != self.header.entries:
            raise malformed(f"holds {found} entries instead of {self.header.entries}")
        # The digest is of what stands before the record of the end, whose prefix was read meanwhile.
        if self._next[0] is not RecordType.END:
            raise malformed("has records in another order")
        if self._next[1] != self._before_end or self._file.read(1):
            raise malformed("is damaged, cut short or goes on after its end")

    def _all(self, kind: RecordType) -> Iterator[bytes]:
        """Yield the bodies of the records of a type that come next."""
        while self._next[0] is kind:
            yield self._take(kind)
        if self._next[0] < kind:
            raise malformed("has records in another order")

    def _take(self, kind: RecordType) -> bytes:
        if self._next[0] is not kind:
            raise malformed(f"lacks its {kind.name.lower()}")
        body = self._next[1]
        self._next = self._record()
        if self._next[0] is kind and kind in _ONCE:
            raise malformed(f"has its {kind.name.lower()} twice")
        return body

    def _record(self) -> tuple[RecordType, bytes]:
        prefix = self._read(_PREFIX.size)
        if len(prefix) < _PREFIX.size:
            raise malformed("is cut short")
        code, length = _PREFIX.unpack(prefix)
        if length > MAX_BODY_BYTES or not 1 <= code <= RecordType.END:
            raise malformed("holds a record that is too long or of an unknown type")
        body = self._read(length)
        if len(body) < length:
            raise malformed("is cut short")
        if code == RecordType.END:
            self._before_end = self._digest.digest()
        self._digest.update(prefix)
        self._digest.update(body)
        return RecordType(code), body

    def _read(self, n_bytes: int) -> bytes:
        try:
            return self._file.read(n_bytes)
        except OSError as error:
            raise AuditError(
                f"the bundle cannot be read: {error.strerror or type(error).__name__}",
                mend="Check the disk and the file's permissions.",
                reason="bundle_unreadable",
            ) from error


def malformed(fault: str) -> VerificationError:
    """Return the refusal of a file that is not a bundle as the specification has it."""
    return VerificationError(
        f"the bundle {fault}",
        mend="Get the file again from whoever exported it.",
        reason="bundle_malformed",
    )


def _parse_header(data: bytes) -> Header:
    try:
        return Header.parse(data)
    except VerificationError as error:
        raise malformed(f"has a header that is none: {error.message}") from None


def _join_proof(hashes: Sequence[bytes]) -> bytes:
    return bytes([len(hashes)]) + b"".join(hashes)


def _split_proof(body: bytes, place: int) -> tuple[tuple[bytes, ...], int]:
    """Return the hashes of a proof and where it ends."""
    n_hashes = body[place] if place < len(body) else MAX_PROOF_HASHES + 1
    end = place + 1 + n_hashes * HASH_BYTES
    if n_hashes > MAX_PROOF_HASHES or end > len(body):
        raise malformed("has a proof that is cut short or too long")
    return _HASHES[n_hashes].unpack_from(body, place + 1), end
