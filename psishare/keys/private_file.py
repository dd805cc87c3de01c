"""Reading files that nobody else may read or replace.

Where anyone else could read a key file it is refused, because the key must then be taken as known.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from psishare.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_EVERYONE_ELSE = 0o077
_OTHERS_WRITE = 0o022


def read_private(path: Path, *, max_bytes: int) -> bytes:
    """Return the content of a regular file that belongs to this process's user alone.

    Args:
        path: not a symbolic link; in a folder that nobody else can write to.
        max_bytes: of a longer file one byte more than this is returned.

    Raises:
        ConfigError: ``key_file_exposed`` where another user can read or replace it,
            ``key_file_malformed`` where it is no regular file, ``key_file_missing``,
            ``key_file_unreadable``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no key file {path}",
            mend="Restore it from a backup, or make the party anew.",
            reason="key_file_missing",
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        _require_private(path, os.fstat(descriptor))
        require_private_folder(path.parent)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(max_bytes + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    finally:
        os.close(descriptor)


def require_private_folder(folder: Path) -> None:
    """Refuse a folder in which other users could replace a file.

    Raises:
        ConfigError: ``key_file_exposed``, ``key_file_unreadable``.
    """
    try:
        status = folder.stat()
    except OSError as error:
        raise unreadable(folder, error) from error
    if status.st_mode & _OTHERS_WRITE:
        raise exposed(folder, "lets other users replace the keys in it", "Set its mode to 0700.")


def require_own(path: Path, status: os.stat_result) -> None:
    """Refuse a file that other users can use.

    Raises:
        ConfigError: ``key_file_exposed``.
    """
    if status.st_uid != os.geteuid():
        raise exposed(path, "belongs to another user", "Run psishare as its owner.")
    if status.st_mode & _EVERYONE_ELSE:
        raise exposed(
            path,
            "can be used by other users of this machine",
            "Take the secret as known to them: replace it, and keep such files at mode 0600.",
        )


def exposed(path: Path, fault: str, mend: str) -> ConfigError:
    """Return the refusal of a file or folder that others can use."""
    return ConfigError(f"{path} {fault}", mend=mend, reason="key_file_exposed")


def malformed(path: Path, fault: str) -> ConfigError:
    """Return the refusal of a file that does not hold what it must."""
    return ConfigError(
        f"{path} {fault}",
        mend="Restore it from a backup, or use the version of psishare that wrote it.",
        reason="key_file_malformed",
    )


def unreadable(path: Path, error: OSError) -> ConfigError:
    """Return the refusal of a file that the system does not let us read."""
    return ConfigError(
        f"{path} cannot be read: {error.strerror or type(error).__name__}",
        mend="Check its permissions; a key file is a regular file, never a symbolic link.",
        reason="key_file_unreadable",
    )


def _require_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise malformed(path, "is not a regular file")
    require_own(path, status)
