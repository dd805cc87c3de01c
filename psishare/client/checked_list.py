"""A list's quality, counted without a value shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psishare.exchange.list_quality import ListQuality, list_quality, rejects_schema
from psishare.exchange.prepared_list import KeyColumn
from psishare.tables import ResultFile

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.exchange.progress import Progress


from psishare.client.input_table import input_table
from psishare.exchange.progress import quiet


def check_list(
    data: Any,
    key: KeyColumn | str,
    *,
    rejects: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ListQuality:
    """Count what a list's key column holds: accepted, repaired, rejected, twice.

    Args:
        data: a table, the path of its file, or anything with the Arrow PyCapsule interface.
        key: the key column, or ``KIND=COLUMN``.
        rejects: where to write the rejected rows, with row number and reason; mode 0600.
        overwrite: whether a file that is there is replaced.
        progress: called as rows are read.

    Returns:
        Counts of rows: accepted, repaired, rejected by reason, and twice there.

    Raises:
        InputError: the list cannot be read, or the rejected rows cannot be written.
    """
    table = input_table(data)
    column = KeyColumn.parse(key) if isinstance(key, str) else key
    report, rows = progress or quiet, 0

    def read(n_rows: int) -> None:
        nonlocal rows
        rows += n_rows
        report("reading", rows, 0)

    if rejects is None:
        return list_quality(table, column, read)
    with ResultFile(rejects, rejects_schema(table), overwrite=overwrite) as file:
        return list_quality(table, column, read, rejects=file)
