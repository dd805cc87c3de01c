"""The elements that an authority sent, kept beside the opening so that a replay can name the row."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, Self

from psishare.errors import AuditError
from psishare.exchange.frame import element_bytes_of

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    import pyarrow as pa


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
        self._file: BinaryIO = os.fdopen(descriptor, "wb")

    def add(self, elements: pa.FixedSizeBinaryArray) -> None:
        """Append one frame's elements.

        Raises:
            AuditError: the disk is full or fails.
        """
        try:
            self._file.write(element_bytes_of(elements))
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
            with self._file as file:
                file.flush()
                os.fsync(file.fileno())
        except OSError as failure:
            raise self._unwritable() from failure

    def _unwritable(self) -> AuditError:
        return AuditError(
            f"the elements sent cannot be kept in {self._path.parent}",
            mend="Check free space and permissions, then start a new exchange.",
            reason="state_write_failed",
        )
