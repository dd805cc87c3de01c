"""A signer that is a process of its own, in any language, spoken to over its standard streams.

The program holds the key, or the session with the token that holds it; psishare never sees either.
Source: protocols/specs/key-file.md, section 6, step 4.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import subprocess
import threading
import time
import weakref
from typing import TYPE_CHECKING, Self

from psishare.errors import ConfigError
from psishare.keys.signer import (
    ED25519_PUBLIC_BYTES,
    ED25519_SIGNATURE_BYTES,
    ML_DSA_44_PUBLIC_BYTES,
    ML_DSA_44_SIGNATURE_BYTES,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psishare.keys.signer import Algorithm

PUBLIC_KEY = 0x01
SIGN = 0x02
DONE = 0x00
MAX_MESSAGE_BYTES = 1024 * 1024
ANSWER_TIMEOUT_S = 60.0
END_TIMEOUT_S = 5.0
_CODES: dict[str, int] = {"ed25519": 0x01, "ml-dsa-44": 0x06}
_LENGTHS: dict[str, tuple[int, int]] = {
    "ed25519": (ED25519_PUBLIC_BYTES, ED25519_SIGNATURE_BYTES),
    "ml-dsa-44": (ML_DSA_44_PUBLIC_BYTES, ML_DSA_44_SIGNATURE_BYTES),
}


class SignerProcess:
    """A signer behind a program that runs as long as this object lives. Threads may share it.

    Args:
        algorithm: what it signs with.
        command: the program and its arguments; no shell reads them.

    Raises:
        ConfigError: ``signer_failed``, it does not start or does not answer.
    """

    def __init__(self, algorithm: Algorithm, command: Sequence[str]) -> None:
        self.algorithm = algorithm
        self._turn = threading.Lock()
        try:
            self._process = subprocess.Popen(  # noqa: S603  the party's own command, without a shell
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
        except OSError as error:
            raise _failed(f"does not start: {error.strerror or type(error).__name__}") from error
        self._end = weakref.finalize(self, _end, self._process)
        public_bytes, self._signature_bytes = _LENGTHS[algorithm]
        self.public_key = self._call(PUBLIC_KEY, b"", public_bytes)

    @classmethod
    def open(cls, algorithm: Algorithm, settings: Mapping[str, str]) -> Self:
        """Start the program that the settings name.

        Args:
            algorithm: what it signs with.
            settings: ``command``, a JSON array of strings.

        Raises:
            ConfigError: ``signer_failed``.
        """
        try:
            command = json.loads(settings["command"])
        except (KeyError, ValueError):
            command = None
        if settings.keys() != {"command"} or not _is_command(command):
            raise _failed("has other settings than a command, which is a JSON array of strings")
        return cls(algorithm, command)

    def sign(self, message: bytes) -> bytes:
        """Return what the program says is the signature over a message.

        Raises:
            ConfigError: ``signer_failed``.
        """
        if len(message) > MAX_MESSAGE_BYTES:
            raise _failed(f"is given no message of more than {MAX_MESSAGE_BYTES} bytes")
        return self._call(SIGN, message, self._signature_bytes)

    def close(self) -> None:
        """End the program."""
        self._end()

    def _call(self, operation: int, message: bytes, answer_bytes: int) -> bytes:
        head = struct.pack(">BBI", operation, _CODES[self.algorithm], len(message))
        with self._turn:
            try:
                return self._exchange(head + message, answer_bytes)
            except (OSError, EOFError, TimeoutError) as error:
                # What it says next might be the answer to this: it is not asked again.
                self.close()
                raise _failed(f"does not answer ({type(error).__name__})") from error

    def _exchange(self, request: bytes, answer_bytes: int) -> bytes:
        if not self._end.alive or self._process.stdin is None:
            raise EOFError
        rest = memoryview(request)
        while rest:
            rest = rest[self._process.stdin.write(rest) or 0 :]
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        status, length = struct.unpack(">BI", self._read(5, deadline))
        if status != DONE:
            raise _failed("refuses to sign")
        if length != answer_bytes:
            raise EOFError
        return self._read(length, deadline)

    def _read(self, n_bytes: int, deadline: float) -> bytes:
        if self._process.stdout is None:
            raise EOFError
        data = b""
        while len(data) < n_bytes:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._process.stdout], [], [], left)[0]:
                raise TimeoutError
            part = os.read(self._process.stdout.fileno(), n_bytes - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def __repr__(self) -> str:
        return f"SignerProcess({self.algorithm!r}, <redacted>)"


def _is_command(command: object) -> bool:
    return isinstance(command, list) and bool(command) and all(isinstance(c, str) for c in command)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let the program see the end of its input, and end it if that is not enough."""
    with contextlib.suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _failed(fault: str) -> ConfigError:
    return ConfigError(
        f"the signer's program {fault}",
        mend="Look at the program, and at the token or service behind it.",
        reason="signer_failed",
    )
