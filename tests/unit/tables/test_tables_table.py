"""Tables from Parquet and memory; columns by name; files that change."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from psishare.errors import InputError
from psishare.tables import Table, open_table

if TYPE_CHECKING:
    from pathlib import Path


class Capsules:
    """A stranger's frame: nothing but the PyCapsule interface."""

    def __init__(self, data: pa.Table | pa.RecordBatch) -> None:
        self._data = data
        self.exports = 0


class StreamCapsule(Capsules):
    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        self.exports += 1
        return self._data.__arrow_c_stream__(requested_schema)


class ArrayCapsule(Capsules):
    def __arrow_c_array__(self, requested_schema: object = None) -> object:
        self.exports += 1
        return self._data.__arrow_c_array__(requested_schema)


def parquet(tmp_path: Path, table: pa.Table, **options: Any) -> Path:
    path = tmp_path / "table.parquet"
    pq.write_table(table, path, **options)
    return path


def test_parquet_keeps_types_and_order(tmp_path: Path) -> None:
    data = pa.table({"key": ["0049", None, "+1"], "n": [1, 2, 3]})
    table = open_table(parquet(tmp_path, data, row_group_size=2))
    assert table.schema == data.schema
    assert pa.Table.from_batches(table.batches(max_rows=2)) == data
    assert all(batch.num_rows <= 2 for batch in table.batches(max_rows=2))
    assert [batch.schema.names for batch in table.batches(["n"])] == [["n"]]


def test_parquet_without_rows_has_no_batches(tmp_path: Path) -> None:
    table = open_table(parquet(tmp_path, pa.table({"key": pa.array([], pa.string())})))
    assert table.schema_names == ("key",)
    assert list(table.batches()) == []


def test_parquet_column_with_a_dot_is_not_taken_for_a_path(tmp_path: Path) -> None:
    data = pa.table({"a.b": ["1"], "a": [{"b": "2"}]})
    table = open_table(parquet(tmp_path, data))
    assert [batch.to_pylist() for batch in table.batches(["a.b"])] == [[{"a.b": "1"}]]


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1" + bytes(64) + b"PAR1", b"a,b\n1,2\n", bytes(1000)]
)
def test_file_that_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        open_table(path)
    assert caught.value.reason == "parquet_malformed"


def test_truncated_parquet_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, pa.table({"key": [str(n) for n in range(5000)]}))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError):
        open_table(path)


def test_damaged_parquet_page_is_refused_while_reading(tmp_path: Path) -> None:
    path = parquet(tmp_path, pa.table({"key": [str(n) for n in range(5000)]}), compression="zstd")
    content = bytearray(path.read_bytes())
    content[100:400] = bytes(300)
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(open_table(path).batches())
    assert caught.value.reason == "parquet_malformed"


def test_parquet_text_that_is_not_utf_8_is_refused_by_row(tmp_path: Path) -> None:
    raw = pa.array([b"ok", b"ok", b"sentinel\xff"])
    text = pa.StringArray.from_buffers(3, *raw.buffers()[1:])
    table = open_table(parquet(tmp_path, pa.table({"key": text})))
    with pytest.raises(InputError, match=r"row 2 \(from 0\)") as caught:
        list(table.batches(max_rows=2))
    assert caught.value.reason == "encoding_invalid"
    assert "sentinel" not in str(caught.value)


@pytest.mark.parametrize("values", [[1, 2], [1.5, 2.5], [b"1", b"2"]])
def test_key_column_that_is_not_text_is_refused(tmp_path: Path, values: list[Any]) -> None:
    table = open_table(parquet(tmp_path, pa.table({"key": values, "name": ["a", "b"]})))
    table.require_text("name")
    with pytest.raises(InputError, match="'key'") as caught:
        table.require_text("key")
    assert caught.value.reason == "column_not_text"


@pytest.mark.parametrize(
    "data",
    [
        pa.table({"key": ["1", "2"], "n": [1, 2]}),
        StreamCapsule(pa.table({"key": ["1", "2"], "n": [1, 2]})),
        ArrayCapsule(pa.record_batch({"key": ["1", "2"], "n": [1, 2]})),
        pa.record_batch({"key": ["1", "2"], "n": [1, 2]}),
        pa.table({"key": ["1", "2"], "n": [1, 2]}).to_reader(),
        pa.table({"key": pa.array(["1", "2"], pa.string_view()), "n": [1, 2]}),
    ],
    ids=["table", "stream", "array", "batch", "reader", "view"],
)
def test_whatever_speaks_arrow_is_read_as_often_as_needed(data: Any) -> None:
    table = Table.from_arrow(data)
    for _ in range(2):
        read = [row for batch in table.batches(max_rows=1) for row in batch.to_pylist()]
        assert read == [{"key": "1", "n": 1}, {"key": "2", "n": 2}]
    table.require_text("key")
    assert table.stamps() == ()
    if isinstance(data, Capsules):
        assert data.exports == 1


@pytest.mark.parametrize("data", [None, 1, "a,b", [{"a": 1}], pa.array(["1"]), object()])
def test_what_is_no_table_is_refused(data: Any) -> None:
    with pytest.raises(InputError) as caught:
        Table.from_arrow(data)
    assert caught.value.reason == "not_a_table"


def test_column_named_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"key,b,key\n1,2,3\n")
    with pytest.raises(InputError, match="'key'") as caught:
        open_table(path)
    assert caught.value.reason == "column_duplicated"
    with pytest.raises(InputError, match="'key'") as caught:
        Table.from_arrow(pa.table([["1"], ["2"]], names=["key", "key"]))
    assert caught.value.reason == "column_duplicated"


def test_missing_column_is_refused_with_the_columns_there_are(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"phone,name\n1,2\n")
    with pytest.raises(InputError, match="'number'") as caught:
        open_table(path).batches(["number"])
    assert caught.value.reason == "column_missing"
    assert caught.value.mend == "Choose among its columns: 'phone', 'name'."


@pytest.mark.parametrize("value", ["+49 171 2345678", "a.b@example.org", "DE02120300000000202051"])
def test_a_first_row_of_data_is_shown_in_no_message(tmp_path: Path, value: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"Ada,{value}\nBob,1\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        open_table(path).require_text("phone")
    assert "Ada" not in caught.value.diagnostics()
    assert value not in caught.value.diagnostics()
    assert "--no-header" in caught.value.mend
    path.write_text(f"{value},{value}\nBob,1\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        open_table(path)
    assert value not in caught.value.diagnostics()


@pytest.mark.parametrize(
    ("separator", "told"),
    [
        (";", "separated by semicolons? Then give --delimiter ';'."),
        ("\t", "separated by tabs? Then give --delimiter $'\\t'."),
        ("|", "separated by bars? Then give --delimiter '|'."),
    ],
)
def test_a_file_read_as_one_column_is_said_to_have_another_separator(
    tmp_path: Path, separator: str, told: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"phone{separator}name\n1{separator}2\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        open_table(path).require_text("phone")
    assert caught.value.reason == "column_missing"
    assert caught.value.mend.endswith(told)
    assert open_table(path, delimiter=separator).schema_names == ("phone", "name")


def test_a_file_from_windows_is_told_its_likely_encoding(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("name\nM\xfcller\n".encode("cp1252"))
    with pytest.raises(InputError) as caught:
        list(open_table(path).batches())
    assert caught.value.reason == "encoding_invalid"
    assert "--encoding cp1252" in caught.value.mend
    with pytest.raises(InputError) as caught:
        list(open_table(path, encoding="ascii").batches())
    assert "cp1252" not in caught.value.mend


@pytest.mark.parametrize("name", ["x.txt", "x", "x.csv.bz2", "x.xlsx", "x.gz", "x.parquet.gz"])
def test_format_is_never_guessed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"a\n1\n")
    with pytest.raises(InputError) as caught:
        open_table(path)
    assert caught.value.reason == "format_unknown"
    assert open_table(path, format="csv").schema_names == ("a",)


def test_suffix_in_capitals_is_known(tmp_path: Path) -> None:
    path = tmp_path / "X.CSV"
    path.write_bytes(b"a\n1\n")
    assert open_table(str(path)).schema_names == ("a",)


def test_path_that_cannot_be_read_twice_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    for path in (tmp_path / "absent.csv", pipe, tmp_path / "none*.csv"):
        with pytest.raises(InputError) as caught:
            open_table(path, format="csv")
        assert caught.value.reason == "input_unreadable"


def test_file_that_changed_since_it_was_opened_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a\n1\n")
    table = open_table(path)
    stamps = table.stamps()
    assert open_table(path).stamps() == stamps
    path.write_bytes(b"a\n1\n2\n")
    assert open_table(path).stamps() != stamps
    with pytest.raises(InputError) as caught:
        list(table.batches())
    assert caught.value.reason == "input_changed"


def test_file_replaced_by_one_of_equal_size_and_time_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a\n1\n")
    table = open_table(path)
    times = path.stat()
    other = tmp_path / "y.csv"
    other.write_bytes(b"a\n2\n")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.rename(path)
    with pytest.raises(InputError) as caught:
        list(table.batches())
    assert caught.value.reason == "input_changed"


def test_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a\n" + b"1\n" * 1000)
    batches = open_table(path).batches(max_rows=10)
    next(batches)
    with path.open("ab") as file:
        file.write(b"2\n")
    with pytest.raises(InputError) as caught:
        list(batches)
    assert caught.value.reason == "input_changed"


def test_file_that_goes_away_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a\n1\n")
    table = open_table(path)
    path.unlink()
    with pytest.raises(InputError, match=r"x\.csv") as caught:
        list(table.batches())
    assert caught.value.reason == "input_unreadable"
