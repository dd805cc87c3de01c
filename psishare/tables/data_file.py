"""One file that rows are read from: where it is, what it is called, how it is compressed."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import pyarrow as pa

from psishare.errors import InputError
from psishare.tables.stamp import Stamp, require_unchanged

if TYPE_CHECKING:
    from psishare.tables.format import Compression

STANDARD_INPUT = "-"
_COPIED_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class DataFile:
    """A regular file, or standard input, which is held in memory.

    Attributes:
        path: where it is.
        label: what errors call it.
        compression: how it is compressed as a whole.
        stamp: of the file as it was first seen.
    """

    path: Path
    label: str
    compression: Compression | None
    stamp: Stamp
    _held: _Held | None = field(default=None, repr=False, compare=False)

    @classmethod
    def at(cls, path: Path, compression: Compression | None) -> Self:
        """Take a file as it is now.

        Raises:
            InputError: ``input_unreadable``.
        """
        return cls(path, str(path), compression, Stamp.of(path))

    @classmethod
    def kept(cls, path: Path, compression: Compression | None) -> Self:
        """Take a file as it is now, and keep it open: another one in its place changes nothing.

        Raises:
            InputError: ``input_unreadable``.
        """
        Stamp.of(path)  # before it is opened, which a pipe would wait for
        try:
            held = _Held(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            raise _unreadable(path, error) from None
        return cls(held.path, str(path), compression, Stamp.of(held.path), held)

    @classmethod
    def of_standard_input(cls, compression: Compression | None) -> Self:
        """Read standard input to its end, into memory that has no name in any folder.

        A table is read twice, and identifiers are never written to a temporary file: so what does not
        fit into memory has to be given as a file.

        Raises:
            InputError: ``input_unreadable``.
        """
        memory = _Held(os.memfd_create("psishare", os.MFD_CLOEXEC))
        try:
            with memory.path.open("wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy, _COPIED_BYTES)
        except OSError as error:
            why = error.strerror
        else:
            return cls(memory.path, "standard input", compression, Stamp.of(memory.path), memory)
        raise InputError(
            f"standard input cannot be read: {why}",
            mend="Give the list as a file: standard input is held in memory.",
            reason="input_unreadable",
        )

    def __str__(self) -> str:
        """Return what errors call it."""
        return self.label

    def open(self) -> BinaryIO:
        """Open it from its start; reading decompresses.

        Raises:
            InputError: ``input_unreadable``.
        """
        try:
            if self.compression is None:
                return self.path.open("rb", buffering=0)
            compressed: BinaryIO = pa.input_stream(
                str(self.path), compression=self.compression.value
            )
        except OSError as error:
            fault = self.unreadable(error)
        else:
            return compressed
        raise fault

    def unreadable(self, error: OSError) -> InputError:
        """Return the error for a file that the system, or its decompression, does not give."""
        if self.compression is not None and error.strerror is None:
            return InputError(
                f"{self} is not {self.compression} that can be decompressed to its end",
                mend="Get the file anew: it may have been cut off on its way.",
                reason="compression_malformed",
            )
        return _unreadable(self, error)

    def require_unchanged(self) -> None:
        """Refuse a file that is no longer the one that was taken.

        Raises:
            InputError: ``input_changed``, or ``input_unreadable``.
        """
        require_unchanged(self.path, self.stamp)


class _Held:
    """A file that is there as long as this object is, whatever becomes of its name, if it has one.

    Args:
        descriptor: closed by this object.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.path = Path(f"/proc/self/fd/{descriptor}")

    def __del__(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


def _unreadable(file: DataFile | Path, error: OSError) -> InputError:
    return InputError(
        f"{file} cannot be read: {error.strerror}",
        mend="Check the path, its permissions and the disk.",
        reason="input_unreadable",
    )
