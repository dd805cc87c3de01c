"""Dirty and hostile files: the right answer, or an error that names the place and keeps the value.

Each file holds a sentinel beside its fault. Whatever happens, the sentinel is in no error, in no
cause or context of one, and in nothing that is printed.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import traceback
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from psishare.errors import InputError
from psishare.tables import csv_source, open_table, write_matches

if TYPE_CHECKING:
    from pathlib import Path

S = b"sentinel-7f3a9"

DIRTY: dict[str, tuple[bytes, str, str]] = {
    "nothing at all": (b"", "table_empty", "empty"),
    "byte order mark only": (b"\xef\xbb\xbf", "table_empty", "empty"),
    "blank lines only": (b"\n\r\n\n", "table_empty", "empty"),
    "row too short": (b"a,b\n1,2\n" + S + b"\n", "csv_malformed", "row 1 (from 0)"),
    "row too long": (b"a,b\n1,2\n" + S + b",2,3\n", "csv_malformed", "row 1 (from 0)"),
    "first row too short": (b"a,b\n" + S + b"\n1,2\n", "csv_malformed", "row 0 (from 0)"),
    "row too short behind blank lines": (
        b"a,b\n\n1,2\n\n\n" + S + b"\n",
        "csv_malformed",
        "row 1 (from 0)",
    ),
    "row too short behind a line break in a value": (
        b'a,b\n"1\n1",2\n' + S + b"\n",
        "csv_malformed",
        "row 1 (from 0)",
    ),
    "unquoted delimiter in a value": (b"a\n" + S + b",x\n", "csv_malformed", "row 0 (from 0)"),
    "wrong delimiter declared": (b"a,b\n" + S + b";x;y,z\n1;2\n", "csv_malformed", "row 1"),
    "quote never closed": (
        b'a,b\n1,2\n"' + S + b",2\n3,4\n",
        "csv_malformed",
        "in row 1 (from 0) is",
    ),
    "quote never closed in the last value": (
        b'a,b\n1,2\n1,"' + S,
        "csv_malformed",
        "in row 1 (from 0) is",
    ),
    "quote never closed in the header": (
        b'a,"b' + S + b"\n1,2\n",
        "csv_malformed",
        "in the header is",
    ),
    "byte that is not UTF-8": (b"a,b\n1," + S + b"\xff\n", "encoding_invalid", "in line 2"),
    "byte that is not UTF-8 in the header": (
        b"a,b\xff\n" + S + b",1\n",
        "encoding_invalid",
        "byte 3, in line 1",
    ),
    "character cut off at the end": (b"a\n" + S + b"\n\xe2\x82", "encoding_invalid", "in line 3"),
    "surrogate in UTF-8": (b"a\n" + S + b"\xed\xa0\x80\n", "encoding_invalid", "in line 2"),
    "overlong UTF-8": (b"a\n" + S + b"\xc0\xaf\n", "encoding_invalid", "in line 2"),
    "Latin-1 as UTF-8": (b"a\nM\xfcller " + S + b"\n", "encoding_invalid", "in line 2"),
    "UTF-16 as UTF-8": (b"\xff\xfe" + "a\nx\n".encode("utf-16-le"), "encoding_invalid", "byte 0"),
    "UTF-16 without mark as UTF-8": ("a\nx\n".encode("utf-16-le"), "encoding_invalid", "NUL"),
    "NUL in a value": (b"a\n" + S + b"\0\n", "encoding_invalid", "in line 2"),
    "gzip as CSV": (b"\x1f\x8b\x08\x00" + bytes(30), "encoding_invalid", ""),
    "Parquet as CSV": (b"PAR1\x15\x04\x15" + bytes(30) + b"PAR1", "encoding_invalid", ""),
    "column named twice": (b"a,b,a\n" + S + b",2,3\n", "column_duplicated", "'a'"),
    "two columns without a name": (b"a,,\n" + S + b",2,3\n", "column_duplicated", "''"),
}


@pytest.mark.parametrize("name", list(DIRTY))
def test_dirty_file_ends_in_a_clear_error(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data, reason, words = DIRTY[name]
    path = tmp_path / "dirty.csv"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        list(open_table(path).batches())
    assert caught.value.reason == reason
    assert words in str(caught.value)
    assert_silent(caught.value)
    assert S.decode() not in "".join(capfd.readouterr())


@pytest.mark.parametrize("name", list(DIRTY))
@pytest.mark.parametrize("block_bytes", [1, 5])
def test_fault_is_found_wherever_blocks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, block_bytes: int
) -> None:
    data, _, _ = DIRTY[name]
    path = tmp_path / "dirty.csv"
    path.write_bytes(data)
    try:
        table = open_table(path)
    except InputError:
        return
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", block_bytes)
    with pytest.raises(InputError) as caught:
        list(table.batches())
    assert_silent(caught.value)


@pytest.mark.parametrize("n_rows", [200_000, 1_000_001])
def test_fault_far_down_is_named_by_its_row(tmp_path: Path, n_rows: int) -> None:
    path = tmp_path / "dirty.csv"
    path.write_bytes(b"a,b\n" + b"123,456\n" * n_rows + S + b"\n" + b"1,2\n" * 10)
    batches = open_table(path).batches()
    with pytest.raises(InputError, match=rf"row {n_rows} \(from 0\)") as caught:
        list(batches)
    assert_silent(caught.value)


def test_byte_far_down_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "dirty.csv"
    lead = b"a\n" + "é\n".encode() * 2_000_001
    path.write_bytes(lead + S + b"\xff\n")
    with pytest.raises(InputError) as caught:
        list(open_table(path).batches())
    assert f"byte {len(lead) + len(S)}, in line 2000003" in str(caught.value)
    assert_silent(caught.value)


def test_value_longer_than_a_block_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    value = "x\n" * (csv_source.BLOCK_BYTES // 2 + 10)
    path.write_text(f'a,b\n1,"{value}"\n2,3\n')
    assert [row for b in open_table(path).batches() for row in b.to_pylist()] == [
        {"a": "1", "b": value},
        {"a": "2", "b": "3"},
    ]


def test_value_longer_than_any_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_source, "MAX_ROW_BYTES", 2 * csv_source.BLOCK_BYTES)
    path = tmp_path / "long.csv"
    path.write_bytes(b'a\n1\n"' + S + b"x\n" * (2 * csv_source.BLOCK_BYTES) + b'"\n')
    with pytest.raises(InputError, match="longer than") as caught:
        list(open_table(path).batches())
    assert_silent(caught.value)


def test_dirty_row_leaves_no_partial_result(tmp_path: Path) -> None:
    path = tmp_path / "dirty.csv"
    path.write_bytes(b"a,b\n" + b"1,2\n" * 2_000_000 + S + b"\n")
    table = open_table(path)
    with pytest.raises(InputError):
        write_matches(table, pa.array([True] * 2_000_000), tmp_path / "out.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["dirty.csv"]


def test_process_that_stops_reading_half_way_ends_cleanly(tmp_path: Path) -> None:
    """No reader's thread may call Python while the interpreter ends."""
    path = tmp_path / "big.csv"
    path.write_bytes(b"a,b\n" + b"123,456\n" * 3_000_000)
    program = f"""
        from psishare.tables import open_table
        batches = open_table({str(path)!r}).batches()
        next(batches)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        check=False,
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def assert_silent(fault: InputError) -> None:
    shown = "".join(traceback.format_exception(fault)) + fault.diagnostics()
    assert S.decode() not in shown
    seen: BaseException | None = fault
    while seen is not None:
        assert S.decode() not in repr(seen.args)
        seen = seen.__cause__ or seen.__context__
