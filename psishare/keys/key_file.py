"""Key files: one secret each, readable by its owner alone.

A key file is canonical JSON: ``version`` (1), ``algorithm``, ``created``, ``protection`` (``"none"``:
the secret is in the clear and the file's permissions are what guards it) and ``secret`` (base64).
Where anyone else could read the file it is refused, because the key must then be taken as known.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from psishare.errors import ConfigError, PsishareError
from psishare.keys import canonical
from psishare.keys.durable_file import write_durably

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
PROTECTION_NONE = "none"
MAX_BYTES = 64 * 1024
FILE_MODE = 0o600
FOLDER_MODE = 0o700
_EVERYONE_ELSE = 0o077
_OTHERS_WRITE = 0o022


class _KeyDocument(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    version: int
    algorithm: str
    created: str
    protection: str
    secret: str


def write_key_file(path: Path, *, algorithm: str, secret: bytes) -> None:
    """Write a secret to a new key file, mode 0600, durably; its folder is made with mode 0700.

    Args:
        path: where; nothing may be there yet.
        algorithm: what the secret is for, as ``read_key_file`` will ask for it.
        secret: the secret's bytes.

    Raises:
        ConfigError: a file is there already (``key_file_exists``), others can write to the folder
            (``key_file_exposed``), or the disk refuses.
    """
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        exists = os.path.lexists(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if exists:
        raise ConfigError(
            f"{path} is there already, and a key is never overwritten",
            mend="Move the old key file away if it really is to be replaced.",
            reason="key_file_exists",
        )
    _require_private_folder(path.parent)
    document = _KeyDocument(
        version=VERSION,
        algorithm=algorithm,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        protection=PROTECTION_NONE,
        secret=base64.b64encode(secret).decode("ascii"),
    )
    data = canonical.dumps(document.model_dump())
    write_durably(path, data, mode=FILE_MODE, error=ConfigError, reason="key_file_unwritable")


def read_key_file(path: Path, *, algorithm: str) -> bytes:
    """Return the secret of a key file.

    Args:
        path: a regular file of this process's user, mode 0600 or less, not a symbolic link.
        algorithm: what the secret must be for.

    Raises:
        ConfigError: ``key_file_exposed`` where another user can read or replace it,
            ``key_file_malformed`` where its content is not such a key, ``key_file_missing``.
    """
    data = _read_private(path)
    try:
        value = canonical.loads(data, max_bytes=MAX_BYTES, what="the key file")
        document = _KeyDocument.model_validate(value)
        secret = base64.b64decode(document.secret.encode("ascii"), validate=True)
    except (PsishareError, ValidationError, ValueError, binascii.Error):
        raise _malformed(path, "is not a key file of this format") from None
    if document.version != VERSION:
        raise _malformed(path, f"has format version {document.version}, not {VERSION}")
    if document.protection != PROTECTION_NONE:
        raise _malformed(path, "is protected in a way that this version cannot open")
    if document.algorithm != algorithm:
        raise _malformed(path, f"does not hold a key for {algorithm}")
    return secret


def _read_private(path: Path) -> bytes:
    """Read a file that nobody else can read or replace."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no key file {path}",
            mend="Restore it from a backup, or make the party anew.",
            reason="key_file_missing",
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        _require_private(path, os.fstat(descriptor))
        _require_private_folder(path.parent)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)


def _require_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _malformed(path, "is not a regular file")
    if status.st_uid != os.geteuid():
        raise _exposed(path, "belongs to another user", "Run psishare as its owner.")
    if status.st_mode & _EVERYONE_ELSE:
        raise _exposed(
            path,
            "can be used by other users of this machine",
            "Take the key as known to them: replace it, and keep key files at mode 0600.",
        )


def _require_private_folder(folder: Path) -> None:
    try:
        status = folder.stat()
    except OSError as error:
        raise _unreadable(folder, error) from error
    if status.st_mode & _OTHERS_WRITE:
        raise _exposed(folder, "lets other users replace the keys in it", "Set its mode to 0700.")


def _exposed(path: Path, fault: str, mend: str) -> ConfigError:
    return ConfigError(f"{path} {fault}", mend=mend, reason="key_file_exposed")


def _malformed(path: Path, fault: str) -> ConfigError:
    return ConfigError(
        f"{path} {fault}",
        mend="Restore it from a backup, or use the version of psishare that wrote it.",
        reason="key_file_malformed",
    )


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} cannot be read: {error.strerror or type(error).__name__}",
        mend="Check its permissions; a key file is a regular file, never a symbolic link.",
        reason="key_file_unreadable",
    )
