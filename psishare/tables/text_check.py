"""Checks text columns: that they are text, and that the text is UTF-8, which readers take on trust."""

from __future__ import annotations

import pyarrow as pa

from psishare.errors import InputError


def is_text(type_: pa.DataType) -> bool:
    """Tell whether a column's values are text; one that holds nulls only may be."""
    value_type = type_.value_type if pa.types.is_dictionary(type_) else type_
    return bool(
        pa.types.is_string(value_type)
        or pa.types.is_large_string(value_type)
        or pa.types.is_string_view(value_type)
        or pa.types.is_null(value_type)
    )


def require_text_valid(batch: pa.RecordBatch, *, first_row: int) -> None:
    """Refuse a batch whose buffers are inconsistent or whose text is not UTF-8.

    Args:
        batch: any record batch.
        first_row: the number of its first row in the table, from 0.

    Raises:
        InputError: ``encoding_invalid``. Names column and row, never the value.
    """
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if not _is_valid(column):
            rows = [row for row in range(len(column)) if not _is_valid(column.slice(row, 1))]
            where = f"row {first_row + rows[0]} (from 0)" if rows else "the data"
            raise InputError(
                f"column {name!r} holds bytes that are not UTF-8 in {where}",
                mend="Write the column anew from text in its true encoding.",
                reason="encoding_invalid",
            )


def _is_valid(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
