"""A long text under one key, in chunks that can be written in order and read in any.

ChaCha20-Poly1305 (RFC 8439) over chunks of 64 KiB. A chunk's nonce is its number and whether it is the
last, so that none can be dropped, moved, repeated or cut off unseen: the STREAM construction, as age
uses it (protocols/specs/offline.md, section 3). A key serves one stream.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from psishare.errors import InternalError, VerificationError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

CHUNK_BYTES: Final = 65_536
TAG_BYTES: Final = 16
KEY_BYTES: Final = 32
_SEALED_BYTES = CHUNK_BYTES + TAG_BYTES


class StreamSealer:
    """Seals a text as it is written; what is there is nothing worth before ``finish``.

    Args:
        key: 32 fresh secret bytes, used for no other stream.
        out: takes the sealed chunks, one after the other.
    """

    def __init__(self, key: bytes, out: BinaryIO) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._out = out
        self._held = bytearray()
        self._index = 0

    def write(self, data: bytes) -> None:
        """Add to the text.

        Raises:
            OSError: what ``out`` raises.
        """
        self._held += data
        # A whole chunk is held back: it may be the last.
        while len(self._held) > CHUNK_BYTES:
            self._seal(CHUNK_BYTES, last=False)

    def finish(self) -> None:
        """Seal the last chunk; nothing can be added after it.

        Raises:
            InternalError: the text is empty.
            OSError: what ``out`` raises.
        """
        if not self._held:
            raise InternalError("an empty text is not sealed as a stream", mend="Report this.")
        self._seal(len(self._held), last=True)

    def _seal(self, n_bytes: int, *, last: bool) -> None:
        nonce = _nonce(self._index, last=last)
        self._out.write(self._aead.encrypt(nonce, bytes(self._held[:n_bytes]), None))
        del self._held[:n_bytes]
        self._index += 1


class StreamOpener:
    """Opens any part of a sealed stream that lies in a file. Use as a context manager.

    Several threads may read at once.

    Args:
        key: the stream's key.
        descriptor: of the file; it is closed with this object.
        start: where in the file the stream begins; it ends with the file.

    Attributes:
        size: the text's length in bytes.

    Raises:
        VerificationError: ``stream_damaged``: the file's length is not that of a stream.
        OSError: the disk refuses.
    """

    def __init__(self, key: bytes, descriptor: int, start: int) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._descriptor = descriptor
        self._start = start
        sealed = os.fstat(descriptor).st_size - start
        self._n_chunks = -(-sealed // _SEALED_BYTES)
        self.size = sealed - self._n_chunks * TAG_BYTES
        # The last chunk holds a byte at least.
        if self.size <= max(0, self._n_chunks - 1) * CHUNK_BYTES:
            raise _damaged()
        self._lock = threading.Lock()
        self._chunk: tuple[int, bytes] = (-1, b"")

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Return a part of the text.

        Args:
            offset: where it begins.
            n_bytes: its length.

        Returns:
            Exactly ``n_bytes`` bytes.

        Raises:
            VerificationError: ``stream_damaged``: a chunk is not what was sealed, or the text is
                shorter.
            OSError: the disk refuses.
        """
        if offset + n_bytes > self.size:
            raise _damaged()
        parts = bytearray()
        while len(parts) < n_bytes:
            index, within = divmod(offset + len(parts), CHUNK_BYTES)
            chunk = self._open(index)
            parts += chunk[within : within + n_bytes - len(parts)]
        return bytes(parts)

    def _open(self, index: int) -> bytes:
        with self._lock:
            if self._chunk[0] == index:
                return self._chunk[1]
            at = self._start + index * _SEALED_BYTES
            sealed = os.pread(self._descriptor, _SEALED_BYTES, at)
            nonce = _nonce(index, last=index == self._n_chunks - 1)
            try:
                chunk = self._aead.decrypt(nonce, sealed, None)
            except InvalidTag:
                raise _damaged() from None
            if not chunk:
                raise _damaged()
            self._chunk = index, chunk
            return chunk

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        """Return the opener."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()


def _nonce(index: int, *, last: bool) -> bytes:
    return index.to_bytes(11, "big") + bytes([last])


def _damaged() -> VerificationError:
    return VerificationError(
        "a sealed stream is not as it was sealed: it was altered, cut off or mixed up",
        mend="Get the file again from whoever made it.",
        reason="stream_damaged",
    )
