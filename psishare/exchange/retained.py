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
    from pathlib import Path
    from types import TracebackType

    import pyarrow as pa

    from psishare.exchange.offer import Offer
    from psishare.keys.signer import Signer


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

    Args:
        path: the file; it must not be there yet.

    Raises:
        AuditError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unwritable() from error
        self._descriptor = descriptor

    def add(self, elements: pa.FixedSizeBinaryArray) -> None:
        """Append one frame's elements; they outlive this process when it returns.

        Raises:
            AuditError: the disk is full or fails.
        """
        rest = element_bytes_of(elements)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise self._unwritable() from error

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
            raise self._unwritable() from failure
        finally:
            os.close(self._descriptor)

    def _unwritable(self) -> AuditError:
        return AuditError(
            f"the elements sent cannot be kept in {self._path.parent}",
            mend="Check free space and permissions, then start a new exchange.",
            reason="state_write_failed",
        )


def requested(path: Path, offer: Offer, signer: Signer) -> Requested:
    """Work out again how far the signed requests of an exchange had come, from what was retained.

    The elements of a frame are retained before its request is signed, and Ed25519 gives the same
    signature again: so a process that starts can tell what one that died had asked.

    Args:
        path: the file of the elements; without it nothing was asked.
        offer: the exchange's offer.
        signer: this party's Ed25519 signer.

    Raises:
        AuditError: the file cannot be read.
    """
    transcript = Transcript(Sequence.REQUESTS, offer.exchange_id)
    width = suite.Protocol(offer.protocol).element_bytes
    try:
        with path.open("rb") as file:
            for index in range(n_frames(offer.rows, offer.frame_rows)):
                _start, rows = frame_span(index, offer.rows, offer.frame_rows)
                elements = file.read(rows * width)
                if len(elements) < rows * width:
                    break
                transcript.add(frame_digest(Sequence.REQUESTS, index, rows, elements), rows)
    except FileNotFoundError:
        return NOTHING_REQUESTED
    except OSError as error:
        raise AuditError(
            f"the elements kept in {path.parent} cannot be read",
            mend="Check the disk and the permissions, then start again.",
            reason="state_write_failed",
        ) from error
    if transcript.frames == 0:
        return NOTHING_REQUESTED
    last = transcript.frames - 1
    last_rows = frame_span(last, offer.rows, offer.frame_rows)[1]
    statement = frame_statement(offer.exchange_id, last, transcript.value, last_rows)
    signature = sign_statement(signer, REQUEST, statement)
    return Requested(transcript.frames, transcript.rows, transcript.value, signature)
