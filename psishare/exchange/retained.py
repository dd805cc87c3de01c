"""The elements that an authority sent, kept beside the opening so that a replay can name the row."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from psishare.errors import AuditError
from psishare.exchange.frame import element_bytes_of
from psishare.exchange.transcript import REQUEST, Transcript, frame_digest, frame_statement
from psishare.keys.statement import sign_statement
from psishare.psi import suite
from psishare.psi.suite import Sequence, frame_span, n_frames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

    import pyarrow as pa

    from psishare.exchange.offer import Offer
    from psishare.keys.signer import Signer

FILE_NAME = "elements"


@dataclass(frozen=True, slots=True)
class Requested:
    """How far the signed requests have come (``journal.LastFrame``)."""

    frames: int
    rows: int
    transcript: bytes | None
    signature: bytes | None


NOTHING_REQUESTED = Requested(0, 0, None, None)


class RetainedElements:
    """A file of the elements sent, one after the other, in the order sent.

    What a process that is gone has left is gone on from; a frame that was cut off is dropped.

    Args:
        folder: the exchange's folder.
        offer: the exchange's offer.

    Attributes:
        digests: of the frames retained, in order.

    Raises:
        AuditError: the file cannot be read or written.
    """

    def __init__(self, folder: Path, offer: Offer) -> None:
        self._folder = folder
        self._offer = offer
        self.digests: list[bytes] = []
        try:
            descriptor = os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(os.dup(descriptor), "rb") as file:
                n_bytes = 0
                for digest, size in _frames(file, offer):
                    self.digests.append(digest)
                    n_bytes += size
            os.ftruncate(descriptor, n_bytes)
            os.lseek(descriptor, n_bytes, os.SEEK_SET)
        except OSError as error:
            raise _unwritable(folder) from error
        self._descriptor = descriptor

    def add(self, index: int, elements: pa.FixedSizeBinaryArray) -> bytes:
        """Append one frame's elements and return its digest; they outlive this process then.

        A frame that is retained is compared and left as it is.

        Raises:
            AuditError: the disk is full or fails; or the frame retained is another one.
        """
        data = element_bytes_of(elements)
        digest = frame_digest(Sequence.REQUESTS, index, len(elements), data)
        if index < len(self.digests):
            if self.digests[index] != digest:
                raise AuditError(
                    f"the elements retained in {self._folder} are not those of this exchange",
                    mend="The folder was changed or restored: abandon the exchange, start another.",
                    reason="audit_failed",
                )
            return digest
        self._write(data)
        self.digests.append(digest)
        return digest

    def transcript(self, n_frames_: int) -> bytes:
        """Return the requests' transcript after so many of the frames retained."""
        chain = Transcript(Sequence.REQUESTS, self._offer.exchange_id)
        for digest in self.digests[:n_frames_]:
            chain.add(digest, 0)
        return chain.value

    def _write(self, rest: memoryview | bytes) -> None:
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise _unwritable(self._folder) from error

    def __enter__(self) -> Self:
        """Return the file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Make the file durable and close it."""
        try:
            os.fsync(self._descriptor)
        except OSError as failure:
            raise _unwritable(self._folder) from failure
        finally:
            os.close(self._descriptor)


def _unwritable(folder: Path) -> AuditError:
    return AuditError(
        f"the elements sent cannot be kept in {folder}",
        mend="Check free space and permissions, then start a new exchange.",
        reason="state_write_failed",
    )


def _frames(file: BinaryIO, offer: Offer) -> Iterator[tuple[bytes, int]]:
    """Yield digest and size in bytes of each whole frame of a file."""
    width = suite.Protocol(offer.protocol).element_bytes
    for index in range(n_frames(offer.rows, offer.frame_rows)):
        _start, rows = frame_span(index, offer.rows, offer.frame_rows)
        elements = file.read(rows * width)
        if len(elements) < rows * width:
            return
        yield frame_digest(Sequence.REQUESTS, index, rows, elements), len(elements)


def requested(folder: Path, offer: Offer, signer: Signer) -> Requested:
    """Work out again how far the signed requests of an exchange had come, from what was retained.

    The elements of a frame are retained before its request is signed, and Ed25519 gives the same
    signature again: so a process that starts can tell what one that died had asked.

    Args:
        folder: the exchange's folder; without the file nothing was asked.
        offer: the exchange's offer.
        signer: this party's Ed25519 signer.

    Raises:
        AuditError: the file cannot be read.
    """
    transcript = Transcript(Sequence.REQUESTS, offer.exchange_id)
    last_rows = 0
    try:
        with (folder / FILE_NAME).open("rb") as file:
            for index, (digest, _size) in enumerate(_frames(file, offer)):
                last_rows = frame_span(index, offer.rows, offer.frame_rows)[1]
                transcript.add(digest, last_rows)
    except FileNotFoundError:
        return NOTHING_REQUESTED
    except OSError as error:
        raise AuditError(
            f"the elements kept in {folder} cannot be read",
            mend="Check the disk and the permissions, then start again.",
            reason="state_write_failed",
        ) from error
    if transcript.frames == 0:
        return NOTHING_REQUESTED
    last = transcript.frames - 1
    statement = frame_statement(offer.exchange_id, last, transcript.value, last_rows)
    signature = sign_statement(signer, REQUEST, statement)
    return Requested(transcript.frames, transcript.rows, transcript.value, signature)
