"""What the library takes for a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psishare.tables import Table, open_table


def input_table(data: Any) -> Table:
    """Return a table from a ``Table``, a path, or anything with the Arrow PyCapsule interface.

    Raises:
        InputError: it cannot be read as a table.
    """
    if isinstance(data, Table):
        return data
    return open_table(data) if isinstance(data, Path) else Table.from_arrow(data)
