"""Reads JSON lines: one object a line, all with the names and the kinds of values of the first.

Strings are text. A number never becomes text unless that is asked for, and then digit by digit as it
stands in the file. What is nested is refused, for it has no column.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Self

import pyarrow as pa

from psishare.errors import InputError
from psishare.tables.csv_text import CsvText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psishare.tables.data_file import DataFile

BLOCK_BYTES = 4 * 2**20
MAX_ROW_BYTES = 64 * 2**20
_WHOLE_NUMBERS = range(-(2**63), 2**63)


class _Number(str):
    """A number as it stands in the file."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class JsonlSource:
    """A file of JSON lines, in UTF-8.

    Attributes:
        file: where it is.
        schema: ``string``, ``int64``, ``double`` or ``bool``, by the first object's values; a column
            that starts with null is text.
        as_text: the columns whose numbers are text as they stand.
    """

    file: DataFile
    schema: pa.Schema
    as_text: frozenset[str]

    @classmethod
    def open(cls, file: DataFile, *, as_text: frozenset[str]) -> Self:
        """Read the first object.

        Raises:
            InputError: ``jsonl_malformed``, ``table_empty`` or ``encoding_invalid``.
        """
        for line in _lines(file):
            first = _object(file, line, 0)
            fields = [
                (name, pa.string() if name in as_text else _type(file, name, value))
                for name, value in first.items()
            ]
            return cls(file, pa.schema(fields), as_text)
        raise InputError(
            f"{file} is empty: it has no object",
            mend="Give a file of JSON lines with an object in each line.",
            reason="table_empty",
        )

    def batches(self, columns: list[str], max_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the named columns, in that order, in batches of at most ``max_rows`` rows.

        A name that a line lacks is null there.

        Raises:
            InputError: ``jsonl_malformed`` or ``encoding_invalid``.
        """
        schema = pa.schema([self.schema.field(column) for column in columns])
        names = set(self.schema.names)
        rows: list[dict[str, Any]] = []
        n_rows = 0
        for line in _lines(self.file):
            row = _object(self.file, line, n_rows)
            if not row.keys() <= names:
                raise _malformed(self.file, n_rows, "has a name that the first object lacks")
            rows.append(row)
            n_rows += 1
            if len(rows) == max_rows:
                yield self._batch(rows, schema, n_rows - len(rows))
                rows = []
        if rows:
            yield self._batch(rows, schema, n_rows - len(rows))

    def _batch(
        self, rows: list[dict[str, Any]], schema: pa.Schema, first_row: int
    ) -> pa.RecordBatch:
        arrays = [
            pa.array(
                [
                    self._value(row.get(field.name), field, first_row + place)
                    for place, row in enumerate(rows)
                ],
                field.type,
            )
            for field in schema
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _value(self, value: Any, field: pa.Field, row: int) -> str | int | float | None:
        if value is None:
            return None
        if isinstance(value, _Number) and field.name in self.as_text:
            return str(value)
        return _TAKEN[field.type](value, self.file, row, field.name)


def _lines(file: DataFile) -> Iterator[str]:
    """Yield the lines that are not blank."""
    text = CsvText(file, "utf-8")
    rest = b""
    try:
        while block := text.read(BLOCK_BYTES):
            *lines, rest = (rest + block).split(b"\n")
            yield from (line.decode() for line in lines if line.strip())
            if len(rest) > MAX_ROW_BYTES:
                raise InputError(
                    f"a line of {file} is longer than {MAX_ROW_BYTES} bytes",
                    mend="Write one object a line; one array of all objects is not JSON lines.",
                    reason="jsonl_malformed",
                )
    finally:
        text.close()
    if rest.strip():
        yield rest.decode()


def _object(file: DataFile, line: str, row: int) -> dict[str, Any]:
    try:
        found = _DECODER.decode(line.strip("\ufeff \t\r") if row == 0 else line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _malformed(file, row, "is not one JSON object with each name once")
    return found


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refuse(_constant: str) -> NoReturn:
    raise ValueError


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_Number, parse_float=_Number, parse_constant=_refuse
)


def _type(file: DataFile, name: str, value: Any) -> pa.DataType:
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, _Number):
        return pa.int64() if value.lstrip("-").isdigit() else pa.float64()
    if value is None or isinstance(value, str):
        return pa.string()
    raise _malformed(file, 0, f"holds an array or an object under {name!r}")


def _text(value: Any, file: DataFile, row: int, name: str) -> str:
    if isinstance(value, _Number) or not isinstance(value, str):
        raise _other_kind(file, row, name)
    try:
        value.encode()
    except UnicodeEncodeError:
        pass
    else:
        return value
    raise InputError(
        f"row {row} (from 0) of {file} holds half a surrogate pair under {name!r}",
        mend="Write the row anew from text in its true encoding.",
        reason="encoding_invalid",
    )


def _whole(value: Any, file: DataFile, row: int, name: str) -> int:
    if isinstance(value, _Number) and value.lstrip("-").isdigit() and len(value) <= 20:
        number = int(value)
        if number in _WHOLE_NUMBERS:
            return number
    raise _other_kind(file, row, name)


def _real(value: Any, file: DataFile, row: int, name: str) -> float:
    if isinstance(value, _Number):
        return float(value)
    raise _other_kind(file, row, name)


def _truth(value: Any, file: DataFile, row: int, name: str) -> bool:
    if isinstance(value, bool):
        return value
    raise _other_kind(file, row, name)


_TAKEN: dict[pa.DataType, Callable[[Any, DataFile, int, str], str | int | float]] = {
    pa.string(): _text,
    pa.int64(): _whole,
    pa.float64(): _real,
    pa.bool_(): _truth,
}


def _other_kind(file: DataFile, row: int, name: str) -> InputError:
    return InputError(
        f"row {row} (from 0) of {file} holds another kind of value under {name!r} than the first",
        mend="Write identifiers as strings, in every row; or declare that numbers are read as text.",
        reason="jsonl_malformed",
    )


def _malformed(file: DataFile, row: int, what: str) -> InputError:
    return InputError(
        f"row {row} (from 0) of {file} {what}",
        mend="Write one object of strings, numbers, booleans and nulls a line, with the same names.",
        reason="jsonl_malformed",
    )
