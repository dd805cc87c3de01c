"""Passphrases, and where they come from: a file, a systemd credential, a person at a terminal.

Never an argument, never the value of an environment variable. Which source a process asks is set with
``asking``; unless that is done, a file named by ``PSISHARE_PASSPHRASE_FILE`` and the credential of the
service are looked for, and nobody is asked. Source: protocols/specs/key-file.md, section 4.
"""

from __future__ import annotations

import contextlib
import os
import stat
import unicodedata
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from psishare.errors import ConfigError
from psishare.keys.private_file import exposed, require_own, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILE_VARIABLE = "PSISHARE_PASSPHRASE_FILE"
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
CREDENTIAL = "psishare-passphrase"
MIN_CHARACTERS = 12
MAX_CHARACTERS = 1024
_MAX_BYTES = 4 * MAX_CHARACTERS
_OTHERS = 0o007


class Passphrase:
    """A passphrase of the form that the specification demands. Prints no secret.

    Args:
        text: 12 to 1,024 characters without control characters; taken in Unicode's form NFC.
        variable: the environment variable that named its file; None where it was given otherwise.

    Attributes:
        variable: likewise, for who is told that it opens nothing.

    Raises:
        ConfigError: ``passphrase_unfit``. Never quotes it.
    """

    __slots__ = ("_data", "variable")

    def __init__(self, text: str, *, variable: str | None = None) -> None:
        normal = unicodedata.normalize("NFC", text)
        if not MIN_CHARACTERS <= len(normal) <= MAX_CHARACTERS:
            raise _unfit(f"has {MIN_CHARACTERS} to {MAX_CHARACTERS} characters")
        if any(unicodedata.category(character).startswith("C") for character in normal):
            raise _unfit("holds no control character and no line break")
        self._data = normal.encode("utf-8")
        self.variable = variable

    def encode(self) -> bytes:
        """Return its bytes, UTF-8, for the derivation of a key."""
        return self._data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Passphrase) and other.encode() == self._data

    __hash__ = None  # type: ignore[assignment]  # a secret is no key of a dictionary

    def __repr__(self) -> str:
        return "Passphrase(<redacted>)"


class Source(Protocol):
    """Whatever can say a passphrase."""

    def __call__(self, what: str, /, *, new: bool = False) -> Passphrase | None:
        """Return the passphrase of a home, or None where this source has none.

        Args:
            what: names the home to a person.
            new: whether it is to be chosen now, and so asked twice.
        """
        ...


def given(passphrase: Passphrase | None) -> Source:
    """Return a source that says this passphrase."""

    def say(_what: str, /, *, new: bool = False) -> Passphrase | None:  # noqa: ARG001  Source's signature
        return passphrase

    return say


def unattended(_what: str, /, *, new: bool = False) -> Passphrase | None:  # noqa: ARG001  as above
    """Return the passphrase that a file or the service's credential holds, or None: nobody is asked.

    Raises:
        ConfigError: as ``read_passphrase``.
    """
    file = file_of(os.environ)
    variable = FILE_VARIABLE if os.environ.get(FILE_VARIABLE) else None
    return None if file is None else read_passphrase(file, variable=variable)


def file_of(environment: Mapping[str, str]) -> Path | None:
    """Return the file that the environment names: its own variable first, then the credential."""
    if environment.get(FILE_VARIABLE):
        return Path(environment[FILE_VARIABLE])
    if environment.get(CREDENTIALS_VARIABLE):
        credential = Path(environment[CREDENTIALS_VARIABLE]) / CREDENTIAL
        return credential if credential.exists() else None
    return None


def read_passphrase(path: Path, *, variable: str | None = None) -> Passphrase:
    """Read a passphrase from a file that nobody else can read, or from a pipe.

    Args:
        path: the file.
        variable: the environment variable that names it, or None.

    Raises:
        ConfigError: ``key_file_exposed``, others can read it; ``key_file_unreadable``;
            ``passphrase_unfit``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            _require_unshared(path, os.fstat(descriptor))
            data = file.read(_MAX_BYTES + 3)
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise _unfit("is text in UTF-8") from None
    return Passphrase(text.removesuffix("\n").removesuffix("\r"), variable=variable)


@contextlib.contextmanager
def asking(source: Source) -> Iterator[None]:
    """Let the homes that are opened in the ``with`` block ask this source."""
    before = _source.set(source)
    try:
        yield
    finally:
        _source.reset(before)


def current_source() -> Source:
    """Return the source that a home asks that is opened now."""
    return _source.get()


_source: ContextVar[Source] = ContextVar("psishare-passphrase-source", default=unattended)


def _require_unshared(path: Path, status: os.stat_result) -> None:
    if stat.S_ISFIFO(status.st_mode):
        return
    if path.name == CREDENTIAL and path.parent == Path(os.environ.get(CREDENTIALS_VARIABLE, "/")):
        # systemd lets the service in by an access control list, which shows as the group's bits.
        if status.st_mode & _OTHERS:
            raise exposed(path, "can be read by other users", "Look at the service's credentials.")
        return
    require_own(path, status)


def _unfit(rule: str) -> ConfigError:
    return ConfigError(
        f"a passphrase {rule}; this one does not",
        mend="Choose another: six random words, or 24 characters of a password manager, are enough.",
        reason="passphrase_unfit",
    )
