"""The text of a CSV file as UTF-8 bytes, whatever its encoding, checked as it is read.

pyarrow parses CSV in UTF-8 only well, and tells neither where a wrong byte is nor that a NUL is one.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from psishare.errors import InputError

if TYPE_CHECKING:
    from psishare.tables.data_file import DataFile

_UTF_8 = "utf-8"
_NUL = b"\x00"


class CsvText:
    """A file of UTF-8 bytes, to be read from start to end once.

    Args:
        file: the file.
        encoding: how it is encoded; known to Python.

    Raises:
        InputError: ``input_unreadable``.
    """

    def __init__(self, file: DataFile, encoding: str) -> None:
        self._of = file
        self._encoding = codecs.lookup(encoding).name
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ended = False
        self._n_bytes = 0
        self._n_lines = 0
        self._file = file.open()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, n_bytes: int) -> bytes:
        """Return about ``n_bytes`` of text, whole characters; nothing at the end only.

        Raises:
            InputError: ``encoding_invalid``: a byte is not of the encoding, or there is a NUL;
                ``input_unreadable`` or ``compression_malformed``.
        """
        while not self._ended:
            try:
                data = self._file.read(n_bytes)
            except OSError as error:
                raise self._of.unreadable(error) from None
            self._ended = not data
            text = self._checked(data)
            if text:
                return text
        return b""

    def _checked(self, data: bytes) -> bytes:
        pending = len(self._decoder.getstate()[0])
        try:
            text = self._utf_8(data, is_last=not data, pending=pending)
        except UnicodeError as error:
            fault = self._undecodable(error, pending)
        else:
            self._require_no_nul(text)
            self._n_bytes += len(data)
            self._n_lines += text.count(b"\n")
            return text
        # Raised out here: Python's error holds the bytes, so it must not be the context of ours.
        raise fault

    def _utf_8(self, data: bytes, *, is_last: bool, pending: int) -> bytes:
        if self._encoding == _UTF_8 and not pending and data.isascii():
            return data
        return self._decoder.decode(data, is_last).encode(_UTF_8)

    def _undecodable(self, error: UnicodeError, pending: int) -> InputError:
        where = ""
        if isinstance(error, UnicodeDecodeError):
            before = error.object[: error.start].decode(self._encoding, errors="ignore")
            line = self._n_lines + before.count("\n") + 1
            where = f" at byte {self._n_bytes - pending + error.start}, in line {line}"
        windows = " Files from Windows often need --encoding cp1252."
        return InputError(
            f"{self._of} is not {self._encoding}{where}",
            mend="Find out the encoding in which the file was written and declare it."
            + (windows if self._encoding == _UTF_8 else ""),
            reason="encoding_invalid",
        )

    def _require_no_nul(self, text: bytes) -> None:
        if _NUL in text:
            line = self._n_lines + text[: text.index(_NUL)].count(b"\n") + 1
            raise InputError(
                f"{self._of} holds a NUL character in line {line}",
                mend="If it was written in UTF-16 or UTF-32, declare that; otherwise clean the file.",
                reason="encoding_invalid",
            )


def require_encoding(encoding: str) -> None:
    """Refuse an encoding that Python does not know, or that is none of text.

    Raises:
        InputError: ``encoding_unknown``.
    """
    try:
        known = codecs.lookup(encoding).incrementaldecoder is not None
        "".encode(encoding)
    except (LookupError, ValueError, UnicodeError):
        known = False
    if not known:
        raise InputError(
            "the encoding is not known",
            mend="Give one such as utf-8, utf-16, latin-1, cp1252 or gb18030.",
            reason="encoding_unknown",
        )
