r"""A parcel: calls or answers of an exchange in one file, signed and sealed (offline.md, section 3).

On disk::

    "psishare-parcel/v2\n" ‖ u32be h ‖ sealed head (h bytes) ‖ chunks to the end

The sealed head is ``K ‖ signature ‖ head document``, sealed to the recipient; the chunks are a stream
under K. Promises: a ``Parcel`` that could be opened is whole, is its sender's, and is for whoever
opened it; memory is bounded by one record and eight bytes for each.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from array import array
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from psishare.errors import InputError, ProtocolError, VerificationError
from psishare.keys import canonical
from psishare.keys.sealed_stream import KEY_BYTES, StreamOpener, StreamSealer
from psishare.keys.sealing import seal
from psishare.keys.statement import sign_statement, verify_statement
from psishare.transport.channel import Call, ClosedOnExit
from psishare.transport.message import MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from psishare.keys.sealing import SealingKey, SealingKeys
    from psishare.keys.signer import Signer

VERSION: Final = 2
"""Of what is written anew; what goes on from a parcel is of its version."""

PLAIN_VERSION: Final = 1
"""The one before, which holds no cosignature."""

FIRST_LINES: Final = {
    PLAIN_VERSION: b"psishare-parcel/v1\n",
    VERSION: b"psishare-parcel/v2\n",
}
FIRST_LINE_BYTES: Final = 19
LABEL: Final = "parcel"
INFO: Final = b"psishare/parcel/v1"
HEAD_BYTES_MAX: Final = 16_384
FAULT: Final = 0
LOG_HEAD: Final = 255
COSIGNATURE: Final = 254
TAGS: Final[dict[Call, int]] = {call: tag for tag, call in enumerate(Call, start=1)}
HEADS_MAX: Final = 64
_KNOWN = frozenset({FAULT, LOG_HEAD, COSIGNATURE, *TAGS.values()})
_RECORD_PREFIX = 5
_SIGNATURE_BYTES = 64
_PARTY = r"^[a-z0-9]([a-z0-9./-]{0,62}[a-z0-9])?$"
_DIGEST = r"^[0-9a-f]{64}$"
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"


class Kind(StrEnum):
    """What a parcel carries, and so who makes it."""

    REQUEST = "request"
    ANSWER = "answer"
    RECEIPT = "receipt"
    CONFIRMATION = "confirmation"
    DATASET = "dataset"


class ParcelHead(BaseModel):
    """What a parcel says of itself; its sender signs the canonical bytes."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    version: Literal[1, 2]
    kind: Literal["request", "answer", "receipt", "confirmation", "dataset"]
    sender: Annotated[str, Field(pattern=_PARTY)]
    recipient: Annotated[str, Field(pattern=_PARTY)]
    exchange_id: Annotated[str, Field(pattern=_DIGEST)] | None
    mandate_sha256: Annotated[str, Field(pattern=_DIGEST)]
    key_sha256: Annotated[str, Field(pattern=_DIGEST)]
    known_tree_size: Annotated[int, Field(ge=0, le=2**53 - 1)]
    time: Annotated[str, Field(pattern=_TIME)]
    expires: Annotated[str, Field(pattern=_TIME)] | None

    def document(self) -> bytes:
        """Return the canonical bytes, which are what is signed."""
        return canonical.dumps(self.model_dump(mode="json"))

    @property
    def sha256(self) -> bytes:
        """What a parcel is known by: SHA-256 of the canonical bytes, 32 bytes."""
        return hashlib.sha256(self.document()).digest()


@dataclass(frozen=True, slots=True)
class Label:
    """What the maker of a parcel puts into its head.

    Attributes:
        kind: what it carries.
        sender: the maker's party id.
        recipient: for whom it is.
        exchange_id: 32 bytes, or None for a dataset.
        mandate_sha256: of the mandate under which it is made, hexadecimal.
        known_tree_size: of the recipient's log, as the sender last verified it.
        time: when it is made, as documents write it.
        expires: when the exchange expires; None for a dataset.
        version: of the format: 2, or 1 without cosignatures.
    """

    kind: Kind
    sender: str
    recipient: str
    exchange_id: bytes | None
    mandate_sha256: str
    known_tree_size: int
    time: str
    expires: str | None
    version: Literal[1, 2] = VERSION


class ParcelWriter:
    """Writes one parcel, record by record, in bounded memory.

    Args:
        out: takes the parcel's bytes; worth nothing before ``finish``.
        label: what the head says.
        signer: the sender's Ed25519 signer.
        sealing_key: the recipient's, 1,216 bytes.

    Raises:
        OSError: what ``out`` raises, here and in every method.
    """

    def __init__(self, out: BinaryIO, label: Label, signer: Signer, sealing_key: bytes) -> None:
        key = secrets.token_bytes(KEY_BYTES)
        head = ParcelHead(
            version=label.version,
            kind=label.kind.value,
            sender=label.sender,
            recipient=label.recipient,
            exchange_id=label.exchange_id.hex() if label.exchange_id is not None else None,
            mandate_sha256=label.mandate_sha256,
            key_sha256=hashlib.sha256(key).hexdigest(),
            known_tree_size=label.known_tree_size,
            time=label.time,
            expires=label.expires,
        )
        document = head.document()
        signature = sign_statement(signer, LABEL, document)
        sealed = seal(sealing_key, key + signature + document, info=INFO, aad=b"")
        out.write(FIRST_LINES[label.version] + len(sealed).to_bytes(4, "big") + sealed)
        self._stream = StreamSealer(key, out)

    def add(self, tag: int, message: bytes) -> None:
        """Add a record.

        Args:
            tag: ``FAULT``, ``LOG_HEAD``, ``COSIGNATURE`` or one of ``TAGS``.
            message: its canonical bytes, at most 4 MiB.
        """
        self._stream.write(bytes([tag]) + len(message).to_bytes(4, "big") + message)

    def finish(self) -> None:
        """Write what is left; the parcel is complete when this returns."""
        self._stream.finish()


class Parcel(ClosedOnExit):
    """A parcel that has been opened and checked as a whole. Use as a context manager.

    Records are numbered from 0, those of log heads and a cosignature left out. Several threads may read at once.

    Attributes:
        head: what it says of itself, signed by its sender.
        heads: the log heads that it begins with, each a serialised ``LogHead``.
        cosignature: the serialised ``Cosignature`` that follows them, or None.
    """

    def __init__(self, head: ParcelHead, stream: StreamOpener) -> None:
        self.head = head
        self._stream = stream
        self._offsets = array("Q")
        self.heads: list[bytes] = []
        self.cosignature: bytes | None = None
        self._index()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        key: SealingKey | SealingKeys,
        recipient: str,
        kind: Kind,
        sender_key: Callable[[str], bytes],
    ) -> Self:
        """Open a parcel, and check all of it before any of it is used.

        Args:
            path: the file.
            key: the recipient's sealing key.
            recipient: the recipient's party id.
            kind: the kind that is due.
            sender_key: returns the pinned Ed25519 key of a party that may send this kind, or raises.

        Raises:
            InputError: ``file_unreadable``.
            ProtocolError: ``parcel_malformed``, ``parcel_unopened``, ``parcel_misdirected``,
                ``parcel_unexpected``, ``parcel_damaged`` or ``parcel_signature_invalid``.
            PsishareError: what ``sender_key`` raises.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            version, secret, start = _read_head(descriptor, key)
            content_key, head = _verified(secret, version, recipient, kind, sender_key)
            return cls(head, StreamOpener(content_key, descriptor, start))
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError):
                raise _unreadable(path, error) from error
            if isinstance(error, VerificationError) and error.reason == "stream_damaged":
                raise _damaged() from None
            raise

    def __len__(self) -> int:
        """Return the number of records, log heads and a cosignature left out."""
        return len(self._offsets)

    def record(self, index: int) -> tuple[int, bytes]:
        """Return a record's tag and its message.

        Raises:
            ProtocolError: there is no such record (``parcel_malformed``).
        """
        if not 0 <= index < len(self._offsets):
            raise malformed("ends before what is due in it")
        return self._read(self._offsets[index])

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _index(self) -> None:
        """Read the whole parcel once, and note where its records begin."""
        offset = 0
        while offset < self._stream.size:
            tag, message = self._read(offset)
            if tag in {LOG_HEAD, COSIGNATURE}:
                self._add_first(tag, message)
            else:
                self._offsets.append(offset)
            offset += _RECORD_PREFIX + len(message)

    def _add_first(self, tag: int, message: bytes) -> None:
        """Take what stands before all calls: heads, then one cosignature (version 2)."""
        late = bool(self._offsets) or self.cosignature is not None
        if tag == LOG_HEAD:
            if late or len(self.heads) == HEADS_MAX:
                raise malformed("holds a log head out of its place")
            self.heads.append(message)
        else:
            if late or self.head.version < VERSION:
                raise malformed("holds a cosignature out of its place")
            self.cosignature = message

    def _read(self, offset: int) -> tuple[int, bytes]:
        prefix = self._stream.read(offset, _RECORD_PREFIX)
        tag, n_bytes = prefix[0], int.from_bytes(prefix[1:], "big")
        if tag not in _KNOWN or n_bytes > MESSAGE_BYTES_MAX:
            raise malformed("holds a record of an unknown kind, or over 4 MiB")
        if offset + _RECORD_PREFIX + n_bytes > self._stream.size:
            raise malformed("ends within a record")
        return tag, self._stream.read(offset + _RECORD_PREFIX, n_bytes)


def _read_head(descriptor: int, key: SealingKey | SealingKeys) -> tuple[int, bytes, int]:
    """Return the version, what the head held sealed, and where the chunks begin."""
    fixed = FIRST_LINE_BYTES + 4
    prefix = os.pread(descriptor, fixed, 0)
    versions = [v for v, line in FIRST_LINES.items() if prefix.startswith(line)]
    if len(prefix) < fixed or not versions:
        raise malformed("does not begin as one of a version that is known here")
    n_bytes = int.from_bytes(prefix[-4:], "big")
    sealed = os.pread(descriptor, min(n_bytes, HEAD_BYTES_MAX), fixed)
    if n_bytes > HEAD_BYTES_MAX or len(sealed) != n_bytes:
        raise malformed("has a head of another length than it says")
    try:
        return versions[0], key.open(sealed, info=INFO, aad=b""), fixed + n_bytes
    except VerificationError:
        raise ProtocolError(
            "the parcel does not open under this party's sealing key",
            mend="It is for another party, for an older key of this one, or damaged: ask for it again.",
            reason="parcel_unopened",
        ) from None


def _verified(
    secret: bytes, version: int, recipient: str, kind: Kind, sender_key: Callable[[str], bytes]
) -> tuple[bytes, ParcelHead]:
    """Return content key and head, having verified whose they are and for whom."""
    content_key = secret[:KEY_BYTES]
    signature = secret[KEY_BYTES : KEY_BYTES + _SIGNATURE_BYTES]
    head = _parse_head(secret[KEY_BYTES + _SIGNATURE_BYTES :])
    if head.version != version:
        raise malformed("has a head of another version than it begins with")
    if head.kind != kind:
        raise ProtocolError(
            f"the parcel holds a {head.kind}, and a {kind} is due",
            mend="Give the parcels to the commands in their order: request, answer, finish, confirm,"
            " release.",
            reason="parcel_unexpected",
        )
    public_key = sender_key(head.sender)
    try:
        verify_statement(public_key, LABEL, head.document(), signature, party=head.sender)
    except VerificationError:
        raise ProtocolError(
            f"the parcel is not signed by {head.sender}, as it says",
            mend="Do not use it; ask that party for it by another way.",
            reason="parcel_signature_invalid",
        ) from None
    if head.recipient != recipient or hashlib.sha256(content_key).hexdigest() != head.key_sha256:
        raise ProtocolError(
            "the parcel was made for another party, and sealed to this one by somebody else",
            mend="Do not use it; tell its sender that somebody passes it on.",
            reason="parcel_misdirected",
            party=None,
        )
    return content_key, head


def _parse_head(data: bytes) -> ParcelHead:
    try:
        fields = canonical.loads(data, max_bytes=HEAD_BYTES_MAX, what="the parcel's head")
        head = ParcelHead.model_validate(fields)
    except (VerificationError, ValidationError):
        raise malformed("has a head with wrong or unknown fields") from None
    if head.document() != data:
        raise malformed("has a head that is not in its canonical form")
    return head


def malformed(fault: str) -> ProtocolError:
    """Return the error for a parcel that is not what its format demands."""
    return ProtocolError(
        f"the parcel {fault}",
        mend="Use the same version of psishare on both sides, and the file as it was written.",
        reason="parcel_malformed",
    )


def _damaged() -> ProtocolError:
    return ProtocolError(
        "the parcel is not as it was sealed: it was altered, cut off or mixed up on its way",
        mend="Copy it again from where it was written, or ask for it again.",
        reason="parcel_damaged",
    )


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"the parcel {path} cannot be read: {error.strerror or type(error).__name__}",
        mend="Check the path and its permissions.",
        reason="file_unreadable",
    )
