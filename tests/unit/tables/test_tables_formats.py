"""One list, however it is stored: the same rows; what is stored otherwise is refused by name."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from psishare.errors import InputError
from psishare.tables import Table, open_table, write_matches

if TYPE_CHECKING:
    from pathlib import Path

DATA = pa.table({"key": ["+4930", "007", None, 'é,"\n'], "n": [1, 2, 3, -4]})
CSV = b"key,n\n+4930,1\n007,2\n"
ROWS = [{"key": "+4930", "n": "1"}, {"key": "007", "n": "2"}]


def rows(table: Table, max_rows: int = 65_536) -> list[dict[str, Any]]:
    return [row for batch in table.batches(max_rows=max_rows) for row in batch.to_pylist()]


def jsonl(data: pa.Table) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in data.to_pylist())


def ipc(data: pa.Table, *, stream: bool) -> bytes:
    sink = io.BytesIO()
    opened = pa.ipc.new_stream if stream else pa.ipc.new_file
    with opened(sink, data.schema) as writer:
        writer.write_table(data, max_chunksize=2)
    return sink.getvalue()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


STORED = {
    "x.arrow": ipc(DATA, stream=False),
    "x.feather": ipc(DATA, stream=False),
    "x.arrows": ipc(DATA, stream=True),
    "y.arrow": ipc(DATA, stream=True),
    "x.arrows.gz": gzip.compress(ipc(DATA, stream=True)),
    "x.arrows.zst": zstd(ipc(DATA, stream=True)),
    "x.jsonl": jsonl(DATA),
    "x.ndjson": jsonl(DATA),
    "x.jsonl.gz": gzip.compress(jsonl(DATA)),
    "X.JSONL.ZST": zstd(jsonl(DATA)),
}


@pytest.mark.parametrize("name", list(STORED))
@pytest.mark.parametrize("max_rows", [1, 3, 100])
def test_one_list_is_the_same_however_it_is_stored(
    tmp_path: Path, name: str, max_rows: int
) -> None:
    (tmp_path / name).write_bytes(STORED[name])
    table = open_table(tmp_path / name)
    assert rows(table, max_rows) == DATA.to_pylist()
    assert rows(table) == DATA.to_pylist()
    assert [b.schema.names for b in table.batches(["n"], max_rows=100)][:1] == [["n"]]


@pytest.mark.parametrize(
    "packed",
    [gzip.compress(CSV), gzip.compress(CSV[:8]) + gzip.compress(CSV[8:])],
    # Not by their bytes, which hold the time: the workers of one run must have one set of tests.
    ids=["one member", "two members"],
)
def test_compressed_csv_is_read_again_and_again(tmp_path: Path, packed: bytes) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(packed)
    table = open_table(path)
    assert rows(table) == rows(table) == ROWS


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_compressed_file_that_is_cut_off_is_refused(tmp_path: Path, suffix: str) -> None:
    lines = b"".join(b"%d,%d\n" % (n, n * n) for n in range(100_000))
    data = gzip.compress(b"a,b\n" + lines) if suffix == "gz" else zstd(b"a,b\n" + lines)
    path = tmp_path / f"x.csv.{suffix}"
    path.write_bytes(data[:-20])
    with pytest.raises(InputError) as caught:
        rows(open_table(path))
    assert caught.value.reason == "compression_malformed"


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_file_that_is_not_compressed_as_its_suffix_says_is_refused(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"x.csv.{suffix}"
    path.write_bytes(CSV)
    with pytest.raises(InputError) as caught:
        open_table(path)
    assert caught.value.reason == "compression_malformed"


def test_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(b"key\n3\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"key\n1\n2\n"))
    (tmp_path / ".hidden").write_bytes(b"?")
    assert [row["key"] for row in rows(open_table(tmp_path))] == ["1", "2", "3"]


def test_pattern_names_files_and_a_file_of_that_very_name_goes_first(tmp_path: Path) -> None:
    for name, key in (("a1.csv", "1"), ("a2.csv", "2"), ("b.csv", "3")):
        (tmp_path / name).write_bytes(f"key\n{key}\n".encode())
    pattern = tmp_path / "a*.csv"
    assert [row["key"] for row in rows(open_table(pattern))] == ["1", "2"]
    pattern.write_bytes(b"key\n4\n")
    assert [row["key"] for row in rows(open_table(pattern))] == ["4"]


def test_file_with_other_columns_than_the_first_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"key\n1\n")
    (tmp_path / "b.csv").write_bytes(b"key,n\n1,2\n")
    with pytest.raises(InputError, match=r"b\.csv") as caught:
        open_table(tmp_path)
    assert caught.value.reason == "schema_differs"


def test_folder_without_files_or_with_a_folder_in_it_is_refused(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            open_table(tmp_path)
        assert caught.value.reason == "input_unreadable"
        (tmp_path / "inner").mkdir(exist_ok=True)


def test_unknown_file_in_a_folder_is_refused_not_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(CSV)
    (tmp_path / "notes.txt").write_bytes(b"")
    with pytest.raises(InputError, match=r"notes\.txt") as caught:
        open_table(tmp_path)
    assert caught.value.reason == "format_unknown"


def test_one_changed_file_of_a_folder_is_noticed(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_bytes(CSV)
    table = open_table(tmp_path)
    (tmp_path / "b.csv").write_bytes(CSV + b"1,2\n")
    with pytest.raises(InputError, match=r"b\.csv") as caught:
        rows(table)
    assert caught.value.reason == "input_changed"


def test_csv_without_a_header_names_columns_by_their_place(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbf+4930,1\n\n007,2\n")
    table = open_table(path, header=False)
    assert table.schema_names == ("column_1", "column_2")
    assert [list(row.values()) for row in rows(table)] == [["+4930", "1"], ["007", "2"]]
    path.write_bytes(b"a,1\nb\n")
    with pytest.raises(InputError, match=r"row 1 \(from 0\)"):
        rows(open_table(path, header=False))


class _Input:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize("name", ["csv", "csv.gz"])
def test_standard_input_is_read_as_often_as_needed(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(sys, "stdin", _Input(gzip.compress(CSV) if name == "csv.gz" else CSV))
    table = open_table("-", format=name)
    assert rows(table) == rows(table) == ROWS


def test_standard_input_without_a_format_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        open_table("-")
    assert caught.value.reason == "format_unknown"


def test_fault_in_standard_input_is_named_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Input(b"a,b\n1\n"))
    with pytest.raises(InputError, match="standard input"):
        rows(open_table("-", format="csv"))


@pytest.mark.parametrize("format_", ["parquet", "arrow"])
def test_integer_key_is_refused_or_read_as_text_by_choice(tmp_path: Path, format_: str) -> None:
    path = tmp_path / f"x.{format_}"
    data = pa.table({"key": [4930, 7, None], "n": [1, 2, 3]})
    if format_ == "parquet":
        pq.write_table(data, path)
    else:
        path.write_bytes(ipc(data, stream=False))
    with pytest.raises(InputError) as caught:
        open_table(path).require_text("key")
    assert caught.value.reason == "column_not_text"
    table = open_table(path, as_text=["key"])
    table.require_text("key")
    assert rows(table)[0] == {"key": "4930", "n": 1}
    assert rows(Table.from_arrow(data, as_text=["key"]))[1:] == [
        {"key": "7", "n": 2},
        {"key": None, "n": 3},
    ]


def test_float_key_never_becomes_text() -> None:
    table = Table.from_arrow(pa.table({"key": [4.93e9]}), as_text=["key"])
    with pytest.raises(InputError) as caught:
        table.require_text("key")
    assert caught.value.reason == "column_not_text"


def test_json_number_is_refused_as_key_or_kept_digit_by_digit(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"key": 123456789012345678901234567890}\n{"key": "007"}\n')
    with pytest.raises(InputError):
        rows(open_table(path))
    table = open_table(path, as_text=["key"])
    assert [row["key"] for row in rows(table)] == ["123456789012345678901234567890", "007"]


JSON_FAULTS = {
    "no object": b"[1]\n",
    "text": b"key\n",
    "two objects in a line": b'{"a":"1"} {"a":"2"}\n',
    "name twice": b'{"a":"1","a":"2"}\n',
    "nested": b'{"a":{"b":"1"}}\n',
    "array": b'{"a":["1"]}\n',
    "not a number": b'{"a":NaN}\n',
    "other kind": b'{"a":"1"}\n{"a":2}\n',
    "text for a number": b'{"a":1}\n{"a":"2"}\n',
    "fraction for a whole number": b'{"a":1}\n{"a":2.5}\n',
    "number too large": b'{"a":1}\n{"a":9223372036854775808}\n',
    "new name": b'{"a":"1"}\n{"a":"1","b":"2"}\n',
    "cut off": b'{"a":"1"}\n{"a":"sentin',
    "deep": b"[" * 100_000,
    "surrogate": b'{"a":"\\ud800"}\n',
    "nothing": b"\n \n",
    "not UTF-8": b'{"a":"\xff"}\n',
}


@pytest.mark.parametrize("name", list(JSON_FAULTS))
def test_faulty_json_lines_end_in_a_clear_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(JSON_FAULTS[name])
    with pytest.raises(InputError) as caught:
        rows(open_table(path))
    assert caught.value.reason in {"jsonl_malformed", "encoding_invalid", "table_empty"}
    assert "sentin" not in caught.value.diagnostics()
    assert caught.value.__context__ is None


@pytest.mark.parametrize("stream", [True, False])
def test_damaged_arrow_data_is_refused_at_every_length(tmp_path: Path, *, stream: bool) -> None:
    path = tmp_path / "x.arrow"
    data = ipc(DATA, stream=stream)
    for length in range(0, len(data) - 8, 7):
        path.write_bytes(data[:length])
        with contextlib.suppress(InputError):
            found = rows(open_table(path))
            # A stream may end behind any of its batches; no row is wrong.
            assert stream
            assert found == DATA.to_pylist()[: len(found)]
            continue
        with pytest.raises(InputError) as caught:
            rows(open_table(path))
        assert caught.value.reason == "arrow_malformed"
        assert caught.value.__context__ is None


@pytest.mark.parametrize("suffix", ["csv", "parquet", "arrow", "jsonl"])
def test_matches_are_written_in_every_format(tmp_path: Path, suffix: str) -> None:
    data = pa.table({"key": ["a", "b", "é\n"], "n": [1, 2, 3], "d": [0.5, None, 2.0]})
    path = tmp_path / f"out.{suffix}"
    assert write_matches(Table.from_arrow(data), pa.array([True, False, True]), path) == 2
    found = rows(open_table(path))
    expected = data.filter(pa.array([True, False, True])).to_pylist()
    if suffix == "csv":
        expected = [{name: str(value) for name, value in row.items()} for row in expected]
        found = [{**row, "d": str(float(row["d"]))} for row in found]
    assert found == expected
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "csv"])
def test_no_match_is_a_result_without_rows(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    write_matches(Table.from_arrow(DATA), pa.array([False] * 4), path)
    table = open_table(path)
    assert table.schema_names == ("key", "n")
    assert rows(table) == []
