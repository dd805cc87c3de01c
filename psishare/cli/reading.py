"""How a command reads its lists: what the options of reading say, for each list that it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psishare

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Reading:
    """The options of reading, as ``psishare.cli.option`` has them.

    Attributes:
        format: the list's format; None: by its suffix.
        encoding: of CSV.
        delimiter: of CSV.
        no_header: whether a CSV list starts with a row.
        as_text: whether a key column of whole numbers is read as text.
    """

    format: str | None
    encoding: str
    delimiter: str
    no_header: bool
    as_text: bool

    def open(self, data: Path | str, column: str | None) -> psishare.Table:
        """Open a list.

        Args:
            data: its path, a folder, a pattern or ``-``.
            column: its key column, or None where it is not known yet.

        Raises:
            InputError: it cannot be opened.
        """
        return psishare.open_table(
            data,
            format=self.format,
            encoding=self.encoding,
            delimiter=self.delimiter,
            header=not self.no_header,
            as_text=[column] if self.as_text and column else (),
        )
