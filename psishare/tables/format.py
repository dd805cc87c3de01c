"""The formats in which tables are read and written."""

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

    @classmethod
    def choose(cls, path: Path, name: str | None) -> TableFormat:
        """Return the format of that name or, without one, of the path's suffix.

        Raises:
            InputError: ``format_unknown``.
        """
        wanted = path.suffix.removeprefix(".").lower() if name is None else name
        try:
            return cls(wanted)
        except ValueError:
            pass
        what = f"the suffix of {path}" if name is None else "the name given"
        raise InputError(
            f"{what} says no format that can be read or written",
            mend=f"Name the format: {' or '.join(cls)}.",
            reason="format_unknown",
        )
