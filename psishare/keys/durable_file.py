"""Files that are either whole and on the disk, or not there.

A file is written beside its place, synchronised, renamed into place, and the folder synchronised:
after a crash at any instruction the old content or the new one is found, never a part.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from psishare.errors import PsishareError

TEMPORARY_SUFFIX = ".tmp"


def write_durably(
    path: Path,
    data: bytes | memoryview,
    *,
    error: type[PsishareError],
    mode: int = 0o600,
    reason: str | None = None,
) -> None:
    """Write a file atomically and durably, replacing what was there.

    Args:
        path: where; its folder exists.
        data: the whole content.
        error: the class to raise when the disk refuses.
        mode: the file's permissions, whatever the umask says.
        reason: the reason code of that error; the class's own where none is given.

    Raises:
        PsishareError: of the class ``error``; no temporary file is left behind.
    """
    temporary = path.with_name(
        f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    )
    try:
        try:
            _write_new(temporary, data, mode)
            temporary.rename(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)
    except OSError as fault:
        raise error(
            f"{path} cannot be written: {fault.strerror or type(fault).__name__}",
            mend="Check free space, quota and permissions there, then try again.",
            reason=reason,
        ) from fault


def sync_folder(folder: Path) -> None:
    """Make a folder's entries (names created, renamed, removed) durable.

    Raises:
        OSError: the disk refuses.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, *, mode: int = 0o700) -> None:
    """Make a folder, and those above it that are missing, durably. One that is there is left as it is.

    Raises:
        OSError: the disk refuses.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent, mode=mode)
    folder.mkdir(mode=mode, exist_ok=True)
    sync_folder(folder.parent)


def overwrite(file: IO[bytes]) -> None:
    """Overwrite an open file with zeros, durably, so that its blocks no longer hold what it held.

    On a medium that keeps old blocks (a flash drive, a snapshot, a backup) a copy may survive.

    Raises:
        OSError: the disk refuses.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    file.write(bytes(size))
    file.flush()
    os.fsync(file.fileno())


def _write_new(path: Path, data: bytes | memoryview, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, mode)
    try:
        os.fchmod(descriptor, mode)
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
