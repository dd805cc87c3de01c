"""A file that gets its name only when it is complete.

It is made without a name in its folder (``O_TMPFILE``), so that not even a killed process leaves
rows behind. Where the file system knows no such files, or there is no ``/proc`` through which to name
one, a file with a name of its own takes its place and is removed on any failure.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from typing import BinaryIO

from psishare.keys.durable_file import TEMPORARY_SUFFIX, sync_folder

_MODE = 0o600
_NO_UNNAMED_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL})
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class PendingFile:
    """A file, mode 0600, on its way to a path.

    Attributes:
        stream: what is to be in it; buffered.

    Raises:
        OSError: the folder is missing, or the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary: Path | None = None
        self._published = False
        descriptor = _open_unnamed(path.parent)
        if descriptor is None:
            self._temporary = self._spare_name()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._temporary, flags, _MODE)
        os.fchmod(descriptor, _MODE)
        self.stream: BinaryIO = os.fdopen(descriptor, "wb")

    def publish(self, *, overwrite: bool) -> None:
        """Make the file durable and give it its name, atomically.

        Raises:
            FileExistsError: the name is taken, and ``overwrite`` is false.
            OSError: the disk refuses.
        """
        self.stream.flush()
        os.fsync(self.stream.fileno())
        if overwrite:
            self._name_temporarily().replace(self._path)
            self._temporary = None
        else:
            self._take_free_name()
        self._published = True
        sync_folder(self._path.parent)
        self.stream.close()

    def drop(self) -> None:
        """Leave nothing of the file, and nothing under its name if it was given it."""
        for path in (self._temporary, self._path if self._published else None):
            if path is not None:
                with contextlib.suppress(OSError):
                    path.unlink()
        # A full disk fails again when the buffer is flushed; that was reported already.
        with contextlib.suppress(OSError):
            self.stream.close()

    def _take_free_name(self) -> None:
        if self._temporary is None:
            self._link(self._path)
            return
        try:
            os.link(self._temporary, self._path)
        except OSError as fault:
            if fault.errno not in _NO_LINKS:
                raise
            # Without links there is a moment between the look and the renaming.
            if os.path.lexists(self._path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
            self._temporary.rename(self._path)
        else:
            self._temporary.unlink()
        self._temporary = None

    def _name_temporarily(self) -> Path:
        if self._temporary is None:
            spare = self._spare_name()
            self._link(spare)
            self._temporary = spare
        return self._temporary

    def _link(self, path: Path) -> None:
        descriptor = self.stream.fileno()
        # Given a folder's descriptor, which an absolute path does not need, Python calls linkat(2),
        # the only call that follows /proc's link to the file.
        os.link(_proc_path(descriptor), path, src_dir_fd=descriptor, follow_symlinks=True)

    def _spare_name(self) -> Path:
        return self._path.with_name(
            f".{self._path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
        )


def _open_unnamed(folder: Path) -> int | None:
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, _MODE)
    except OSError as fault:
        if fault.errno in _NO_UNNAMED_FILES:
            return None
        raise
    if not Path(_proc_path(descriptor)).exists():
        os.close(descriptor)
        return None
    return descriptor


def _proc_path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
