"""The vault of a home: reads and writes its key files, in the clear or under its lock.

The lock is opened when the first secret is needed, once in the life of the object, and never before.
Source: protocols/specs/key-file.md, sections 3 and 5.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import threading
from typing import TYPE_CHECKING, Self

from psishare.errors import ConfigError
from psishare.keys.durable_file import overwrite, write_durably
from psishare.keys.external_signer import ExternalSigner
from psishare.keys.key_file import (
    MAX_BYTES,
    ClearKey,
    EncryptedKey,
    KeyElsewhere,
    KeyFile,
    parse_key_file,
)
from psishare.keys.lock import LOCK_FILE, HomeKey, unwrap
from psishare.keys.passphrase import current_source
from psishare.keys.private_file import (
    malformed,
    read_private,
    require_private_folder,
    unreadable,
)
from psishare.keys.signer import Ed25519Signer, MlDsa44Signer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from psishare.keys.passphrase import Passphrase, Source
    from psishare.keys.signer import Algorithm, Signer

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_IN_MEMORY: dict[str, type[Ed25519Signer | MlDsa44Signer]] = {
    "ed25519": Ed25519Signer,
    "ml-dsa-44": MlDsa44Signer,
}


class Vault:
    """The key files of one home. Several threads may share it.

    Args:
        folder: the home's ``keys``, where the lock lies if there is one.
        source: who is asked for the passphrase; as the process is set up where None.
    """

    def __init__(self, folder: Path, source: Source | None = None) -> None:
        self._folder = folder
        self._source = source or current_source()
        self._home_key: HomeKey | None = None
        self._opening = threading.Lock()

    @classmethod
    def create(cls, folder: Path, passphrase: Passphrase) -> Self:
        """Make the lock of a new home, in a folder that holds no key yet.

        Raises:
            ConfigError: ``key_file_unwritable``.
        """
        vault = cls(folder)
        vault._home_key = HomeKey.generate()
        vault._home_key.wrap(folder / LOCK_FILE, passphrase)
        return vault

    @property
    def is_locked(self) -> bool:
        """Whether the home has a lock, so that its keys are encrypted at rest."""
        return (self._folder / LOCK_FILE).exists()

    def unlock(self) -> None:
        """Open the lock, where there is one, if that has not been done yet.

        Raises:
            ConfigError: ``passphrase_missing``, ``passphrase_wrong``, or as ``unwrap``.
        """
        if self.is_locked:
            self._key()

    def read(self, path: Path, *, algorithm: str) -> bytes:
        """Return the secret of a key file.

        Args:
            path: a regular file of this process's user, mode 0600 or less, not a symbolic link.
            algorithm: what the secret must be for.

        Raises:
            ConfigError: ``key_file_exposed``, another user can read or replace it;
                ``key_file_malformed``, ``key_file_missing``, ``key_file_unreadable``;
                ``key_file_unprotected``, it is in the clear beside a lock; ``lock_missing``; or as
                ``unlock``.
        """
        return self._secret(path, self._parse(path, algorithm))

    def check(self, path: Path) -> None:
        """Prove that a key file is whole and opens, whatever it is for.

        Raises:
            ConfigError: as ``read``.
        """
        document = self._parse(path, None)
        if not isinstance(document, KeyElsewhere):
            self._secret(path, document)

    def write(self, path: Path, *, algorithm: str, secret: bytes) -> None:
        """Write a secret to a new key file, mode 0600, durably; its folder is made with mode 0700.

        Args:
            path: where; nothing may be there yet.
            algorithm: what the secret is for, as ``read`` will ask for it.
            secret: the secret's bytes.

        Raises:
            ConfigError: a file is there already (``key_file_exists``), others can write to the folder
                (``key_file_exposed``), the disk refuses, or as ``unlock``.
        """
        with self._one_at_a_time():
            document: KeyFile = ClearKey.of(algorithm, secret)
            if self.is_locked:
                document = EncryptedKey.of(algorithm, secret, self._key())
            _write_new(path, document)

    def entrust(
        self, path: Path, *, algorithm: Algorithm, signer: str, settings: dict[str, str]
    ) -> Signer:
        """Write a key file that names a signer, whose key is in a token or a service.

        Args:
            path: where; nothing may be there yet.
            algorithm: what the key is for.
            signer: an entry point of the group ``psishare.signers``.
            settings: what that is told; no secrets.

        Raises:
            ConfigError: as ``write``; ``signer_unknown``; ``signer_failed``.
        """
        made = ExternalSigner.load(signer, settings, algorithm=algorithm)
        _write_new(path, KeyElsewhere.of(algorithm, signer, settings, made.public_key))
        return made

    def signer(self, path: Path, *, algorithm: Algorithm) -> Signer:
        """Return what signs with the key of a key file, here or elsewhere.

        Raises:
            ConfigError: as ``read``; ``signer_unknown``; ``signer_failed``.
        """
        document = self._parse(path, algorithm)
        if not isinstance(document, KeyElsewhere):
            return _IN_MEMORY[algorithm].from_secret_bytes(self._secret(path, document))
        try:
            public_key = base64.b64decode(document.public_key.encode("ascii"), validate=True)
        except ValueError:
            raise malformed(path, "does not hold a public key") from None
        return ExternalSigner.load(
            document.signer, document.settings, algorithm=algorithm, public_key=public_key
        )

    def protect(self, passphrase: Passphrase, files: Iterable[Path]) -> int:
        """Bring key files that lie in the clear under a lock, made now or by an earlier try.

        Args:
            passphrase: opens the lock from now on; where there is one already, it must open it.
            files: every key file of the home; those that are encrypted stay as they are.

        Returns:
            How many were encrypted.

        Raises:
            ConfigError: a file cannot be read or written; call again, and the rest is done.
        """
        with self._one_at_a_time():
            if not self.is_locked:
                home_key = HomeKey.generate()
                home_key.wrap(self._folder / LOCK_FILE, passphrase)
            home_key = unwrap(self._folder / LOCK_FILE, passphrase)
            self._home_key = home_key
            return sum(_encrypt_file(path, home_key) for path in files)

    def change_passphrase(self, passphrase: Passphrase) -> None:
        """Let another passphrase open the lock, and the old one no more, in one atomic step.

        Raises:
            ConfigError: as ``unlock``; ``key_file_unwritable``, the old one still opens it.
        """
        with self._one_at_a_time():
            self._key().wrap(self._folder / LOCK_FILE, passphrase)

    def _key(self) -> HomeKey:
        with self._opening:
            if self._home_key is None:
                self._home_key = self._open()
            return self._home_key

    def _open(self) -> HomeKey:
        passphrase = self._source(str(self._folder.parent))
        if passphrase is None:
            raise ConfigError(
                f"the keys of {self._folder.parent} are encrypted, and there is no passphrase",
                mend="Run it on a terminal, name a file with --passphrase-file, or give the service a"
                " credential.",
                reason="passphrase_missing",
            )
        return unwrap(self._folder / LOCK_FILE, passphrase)

    def _parse(self, path: Path, algorithm: str | None) -> KeyFile:
        data = read_private(path, max_bytes=MAX_BYTES)
        return parse_key_file(path, data, algorithm=algorithm)

    def _secret(self, path: Path, document: KeyFile) -> bytes:
        try:
            if isinstance(document, EncryptedKey):
                if not self.is_locked:
                    raise _no_lock(path, self._folder)
                return document.decrypt(self._key())
            if isinstance(document, KeyElsewhere):
                raise malformed(path, "names a signer, and this key does more than sign")
            if self.is_locked:
                raise _unprotected(path)
            return document.plain()
        except ValueError:
            raise malformed(path, "is damaged, or is a key file of another home") from None

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Keep another process from putting a home under a lock while a key is written."""
        try:
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise unreadable(self._folder, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def __repr__(self) -> str:
        return f"Vault({str(self._folder)!r}, <redacted>)"


def _write_new(path: Path, document: KeyFile) -> None:
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        exists = os.path.lexists(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if exists:
        raise ConfigError(
            f"{path} is there already, and a key is never overwritten",
            mend="Move the old key file away if it really is to be replaced.",
            reason="key_file_exists",
        )
    require_private_folder(path.parent)
    data = document.to_bytes()
    write_durably(path, data, mode=FILE_MODE, error=ConfigError, reason="key_file_unwritable")


def _encrypt_file(path: Path, home_key: HomeKey) -> bool:
    """Replace a key file in the clear by an encrypted one, and overwrite the old one's bytes."""
    data = read_private(path, max_bytes=MAX_BYTES)
    document = parse_key_file(path, data, algorithm=None)
    if not isinstance(document, ClearKey):
        return False
    try:
        secret = document.plain()
    except ValueError:
        raise malformed(path, "does not hold a secret") from None
    new = EncryptedKey.of(document.algorithm, secret, home_key, created=document.created)
    try:
        with path.open("r+b") as old:
            write_durably(
                path,
                new.to_bytes(),
                mode=FILE_MODE,
                error=ConfigError,
                reason="key_file_unwritable",
            )
            overwrite(old)
    except OSError as error:
        raise unreadable(path, error) from error
    return True


def _unprotected(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is in the clear, although the home has a lock",
        mend="Give `psishare party passphrase` again, which encrypts what is left; count the key as"
        " known if you did not put the file there.",
        reason="key_file_unprotected",
    )


def _no_lock(path: Path, folder: Path) -> ConfigError:
    return ConfigError(
        f"{path} is encrypted, and {folder / LOCK_FILE} is not there to open it",
        mend="Restore the whole home folder from one backup.",
        reason="lock_missing",
    )
