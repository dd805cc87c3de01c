"""Small files that commands read and write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.errors import InputError
from psishare.keys.durable_file import write_durably

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 1024 * 1024


def read(path: Path, what: str, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return a small file's bytes.

    Args:
        path: the file.
        what: what it is, for the message.
        max_bytes: of a longer one only the beginning is read, which no parser takes.

    Raises:
        InputError: ``file_unreadable``.
    """
    try:
        with path.open("rb") as file:
            return file.read(max_bytes)
    except OSError as error:
        raise InputError(
            f"{what} {path} cannot be read: {error.strerror}",
            mend="Check the path and its permissions.",
            reason="file_unreadable",
        ) from error


def write_new(path: Path, data: bytes, *, overwrite: bool, mode: int = 0o600) -> None:
    """Write a small file whole, and never over another one unasked.

    Raises:
        InputError: ``output_exists``; ``output_unwritable``.
    """
    require_free(path, overwrite=overwrite)
    write_durably(path, data, error=InputError, mode=mode, reason="output_unwritable")


def require_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that is there, unless it may be overwritten.

    Raises:
        InputError: ``output_exists``.
    """
    if path.exists() and not overwrite:
        raise InputError(
            f"{path} is there already",
            mend="Choose another name, or say --overwrite.",
            reason="output_exists",
        )
