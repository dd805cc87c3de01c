"""What an authority has learnt in an exchange that is not finished, sealed (exchange.md, section 13).

A file of records, each written once and sealed under a key that only the exchange's seed gives. What
was cut off in the middle, or does not open, counts as never written. Nothing is told by the records'
lengths but numbers that both parties know.
"""

from __future__ import annotations

import os
import secrets
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import pyarrow as pa
import pyarrow.compute as pc
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from psishare.errors import AuditError
from psishare.psi import suite

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

LABEL: Final = b"psishare/unfinished/v1"
FILE_NAME: Final = "unfinished.sealed"
_HEAD: Final = struct.Struct(">BQI")
_NONCE_BYTES: Final = 12
_DIGEST_BYTES: Final = 32
_FRAME, _RESULT, _ELEMENTS_FRAME = 1, 2, 3
_ELEMENTS: Final = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class FinishedFrame:
    """A request frame whose answer has been checked and used.

    Attributes:
        digest: the answer's digest, 32 bytes; zeros where the answers come later.
        learnt: what the driver learnt from it.
    """

    digest: bytes
    learnt: pa.Array


@dataclass(frozen=True, slots=True)
class KeptResult:
    """The result of an exchange whose receipt may be signed.

    Attributes:
        matched: ``uint64``, ascending.
        elements: the platform's set size.
    """

    matched: pa.Array
    elements: int


class Unfinished:
    """The sealed file of one exchange; open it, use it, and destroy it when the result is handed over.

    Several threads may use it at once.

    Args:
        folder: the exchange's folder.
        exchange_id: 32 bytes.
        seed: the exchange's secret seed, 32 bytes.
        protocol: which one; it decides what is learnt from a frame.

    Raises:
        AuditError: ``state_write_failed``: the file cannot be opened or read.
    """

    def __init__(
        self, folder: Path, exchange_id: bytes, seed: bytes, protocol: suite.Protocol
    ) -> None:
        self._path = folder / FILE_NAME
        self._exchange_id = exchange_id
        key = HKDF(SHA256(), 32, salt=exchange_id, info=LABEL).derive(seed)
        self._cipher = ChaCha20Poly1305(key)
        is_oprf = protocol is suite.Protocol.OPRF
        self._learnt = pa.uint8() if is_oprf else pa.binary(protocol.element_bytes)
        self._places: dict[tuple[int, int], tuple[int, int]] = {}
        self._lock = threading.Lock()
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._end = self._scan(os.fstat(self._descriptor).st_size)
        except OSError as error:
            raise self._failed() from error

    def frame(self, index: int) -> FinishedFrame | None:
        """Return a frame that was finished, or None."""
        data = self._read(_FRAME, index)
        if data is None:
            return None
        digest, learnt = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        width = self._learnt.byte_width
        array = pa.Array.from_buffers(
            self._learnt, len(learnt) // width, [None, pa.py_buffer(learnt)]
        )
        return FinishedFrame(digest, array)

    def keep_frame(self, index: int, digest: bytes, learnt: pa.Array) -> None:
        """Keep a finished frame; it outlives this process when this returns.

        Args:
            index: the frame's number.
            digest: the answer's digest, 32 bytes.
            learnt: ``uint8`` (``oprf``) or elements, no nulls.
        """
        width = self._learnt.byte_width
        buffer = learnt.buffers()[1]
        start = learnt.offset * width
        values = memoryview(buffer)[start : start + len(learnt) * width] if buffer else b""
        self._append(_FRAME, index, digest + bytes(values))

    def same_elements(self, index: int, digest: bytes) -> bool:
        """Tell whether a frame of the platform's elements is the one that came first under its number.

        The first one is kept; it outlives this process when this returns.

        Args:
            index: the frame's number.
            digest: the frame's digest, 32 bytes.
        """
        known = self._read(_ELEMENTS_FRAME, index)
        if known is None:
            self._append(_ELEMENTS_FRAME, index, digest)
        return known is None or known == digest

    def result(self, n_rows: int) -> KeptResult | None:
        """Return the result, or None where none was kept.

        Args:
            n_rows: how many identifiers were asked about.
        """
        data = self._read(_RESULT, 0)
        if data is None:
            return None
        (elements,) = _ELEMENTS.unpack_from(data)
        bits = pa.py_buffer(data[_ELEMENTS.size :])
        mask = pa.Array.from_buffers(pa.bool_(), n_rows, [None, bits])
        return KeptResult(pc.indices_nonzero(mask), elements)

    def keep_result(self, result: KeptResult, n_rows: int) -> None:
        """Keep the result, durably, before the receipt is signed: a bit for each identifier."""
        places = pc.inverse_permutation(
            result.matched.cast(pa.int64()), max_index=n_rows - 1, output_type=pa.int64()
        )
        bits = places.is_valid().buffers()[1]
        data = bytes(bits)[: (n_rows + 7) // 8] if n_rows else b""
        self._append(_RESULT, 0, _ELEMENTS.pack(result.elements) + data)
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._failed() from error

    def __enter__(self) -> Self:
        """Return the file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _scan(self, size: int) -> int:
        """Find the records, and return where the last whole one ends."""
        at = 0
        while at + _HEAD.size <= size:
            part, index, length = _HEAD.unpack(os.pread(self._descriptor, _HEAD.size, at))
            if at + _HEAD.size + length > size:
                break
            self._places[part, index] = at + _HEAD.size, length
            at += _HEAD.size + length
        return at

    def _read(self, part: int, index: int) -> bytes | None:
        place = self._places.get((part, index))
        if place is None:
            return None
        start, length = place
        try:
            data = os.pread(self._descriptor, length, start)
        except OSError as error:
            raise self._failed() from error
        nonce, sealed = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, sealed, self._context(part, index))
        except (InvalidTag, ValueError):
            return None

    def _append(self, part: int, index: int, data: bytes) -> None:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, data, self._context(part, index))
        with self._lock:
            start = self._end
            self._write(_HEAD.pack(part, index, len(sealed)) + sealed)
            self._places[part, index] = start + _HEAD.size, len(sealed)

    def _write(self, data: bytes) -> None:
        rest, start = memoryview(data), self._end
        try:
            while rest:
                written = os.pwrite(self._descriptor, rest, self._end)
                self._end += written
                rest = rest[written:]
        except OSError as error:
            self._end = start
            raise self._failed() from error

    def _context(self, part: int, index: int) -> bytes:
        return self._exchange_id + part.to_bytes(1, "big") + index.to_bytes(8, "big")

    def _failed(self) -> AuditError:
        return AuditError(
            f"what was learnt so far cannot be kept in {self._path.parent}",
            mend="Check free space and permissions, then start a new exchange.",
            reason="state_write_failed",
        )
