"""The formats in which tables are read and written, and the suffixes that name them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from psishare.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


class TableFormat(StrEnum):
    """A file format for tables."""

    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"
    JSONL = "jsonl"

    @classmethod
    def choose(cls, path: Path, name: str | None) -> TableFormat:
        """Return the format of that name or, without one, of the path's suffix; not compressed.

        Raises:
            InputError: ``format_unknown``.
        """
        format_, compression = choose_encoded(path, name)
        if compression is not None:
            raise InputError(
                "a result is not compressed as a whole",
                mend="Choose Parquet, which compresses its columns, or compress the file later.",
                reason="format_unknown",
            )
        return format_


class Compression(StrEnum):
    """How a whole file is compressed."""

    GZIP = "gzip"
    ZSTD = "zstd"


_FORMATS = {format_.value: format_ for format_ in TableFormat} | {
    "arrows": TableFormat.ARROW,
    "feather": TableFormat.ARROW,
    "ndjson": TableFormat.JSONL,
}
_COMPRESSIONS = {"gz": Compression.GZIP, "zst": Compression.ZSTD}
# These compress what they hold themselves and are read from their end.
_SEEKING = frozenset({TableFormat.PARQUET})


def choose_encoded(path: Path, name: str | None) -> tuple[TableFormat, Compression | None]:
    """Return the format and compression of a name, such as ``csv`` or ``csv.gz``.

    Args:
        path: its suffixes are the name where none is given.
        name: a format and, behind a dot, ``gz`` or ``zst``; case does not matter.

    Raises:
        InputError: ``format_unknown``.
    """
    words = (path.name if name is None else f".{name}").lower().split(".")[1:]
    compression = _COMPRESSIONS.get(words[-1]) if words else None
    if compression is not None:
        words.pop()
    format_ = _FORMATS.get(words[-1]) if words else None
    if format_ is not None and not (compression and format_ in _SEEKING):
        return format_, compression
    what = f"the suffix of {path}" if name is None else "the name given"
    raise InputError(
        f"{what} says no format that can be read or written",
        mend=f"Name the format: {', '.join(TableFormat)}; for input also csv.gz, jsonl.zst and so on.",
        reason="format_unknown",
    )
