"""Tells whether a file is still the one that was read before."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from psishare.errors import InputError

if TYPE_CHECKING:
    import os
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stamp:
    """A regular file's device, inode, size in bytes and time of change in nanoseconds."""

    device: int
    inode: int
    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Take a file's stamp.

        Raises:
            InputError: ``input_unreadable``: it is missing, may not be read, or is no regular file,
                which could not be read twice.
        """
        try:
            status = path.stat()
        except OSError as fault:
            raise InputError(
                f"{path} cannot be read: {fault.strerror}",
                mend="Check the path and its permissions.",
                reason="input_unreadable",
            ) from None
        if not stat.S_ISREG(status.st_mode):
            raise InputError(
                f"{path} is not a regular file; a table is read twice",
                mend="Write the table to a file first.",
                reason="input_unreadable",
            )
        return cls._of_status(status)

    @classmethod
    def _of_status(cls, status: os.stat_result) -> Self:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def require_unchanged(path: Path, stamp: Stamp) -> None:
    """Refuse a file that is no longer the one of which the stamp was taken.

    Raises:
        InputError: ``input_changed``, or ``input_unreadable``.
    """
    if Stamp.of(path) != stamp:
        raise InputError(
            f"{path} changed while it was in use",
            mend="Let nothing write to the file, then start again.",
            reason="input_changed",
        )
