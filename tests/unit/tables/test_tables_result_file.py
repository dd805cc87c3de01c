"""Results: whole, private, in order; or no file at all."""

from __future__ import annotations

import errno
import io
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from psishare.errors import InputError
from psishare.keys import pending_file
from psishare.tables import ResultFile, Table, open_table, write_matches

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = pa.schema([("key", pa.string()), ("note", pa.string())])
ROWS = pa.record_batch([["0049", "+1", ""], ['say "hi"', "a,b\nc", None]], schema=SCHEMA)


@pytest.fixture(params=["unnamed", "named"])
def _kind_of_file(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "named":
        monkeypatch.setattr(pending_file, "_open_unnamed", lambda _: None)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def fail(*_: object, **__: object) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt() -> None:
    raise KeyboardInterrupt


def write_then(path: Path, happens: Callable[[], object]) -> None:
    with ResultFile(path, SCHEMA) as result:
        result.write(ROWS)
        happens()


@pytest.mark.usefixtures("_kind_of_file")
def test_csv_is_written_as_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with ResultFile(path, SCHEMA) as result:
        result.write(ROWS)
        assert not path.exists()
    assert result.n_rows == 3
    assert path.read_bytes() == b'key,note\n0049,"say ""hi"""\n+1,"a,b\nc"\n,\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == ["out.csv"]


@pytest.mark.usefixtures("_kind_of_file")
def test_parquet_is_written_with_its_types(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    data = pa.table({"key": ["1", "2"], "n": [1, 2], "l": [[1], []]})
    with ResultFile(path, data.schema) as result:
        for batch in data.to_batches(max_chunksize=1):
            result.write(batch)
    assert pq.read_table(path) == data
    assert pq.ParquetFile(path).num_row_groups == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == ["out.parquet"]


@pytest.mark.usefixtures("_kind_of_file")
@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_exception_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_then(tmp_path / name, interrupt)
    assert names(tmp_path) == []


@pytest.mark.usefixtures("_kind_of_file")
@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
@pytest.mark.parametrize("call", ["os.fsync", "psishare.keys.pending_file.sync_folder"])
def test_disk_that_fails_at_the_end_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: str
) -> None:
    with pytest.raises(InputError, match="No space left") as caught:
        write_then(tmp_path / name, lambda: monkeypatch.setattr(call, fail))
    assert caught.value.reason == "output_not_written"
    assert names(tmp_path) == []


@pytest.mark.usefixtures("_kind_of_file")
def test_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(InputError) as caught, ResultFile(path, SCHEMA):
        pytest.fail("entered")
    assert caught.value.reason == "output_exists"
    assert "--overwrite" in caught.value.mend
    assert path.read_text() == "old"


@pytest.mark.usefixtures("_kind_of_file")
def test_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with pytest.raises(InputError) as caught:
        write_then(path, lambda: path.write_text("other"))
    assert caught.value.reason == "output_exists"
    assert path.read_text() == "other"
    assert names(tmp_path) == ["out.csv"]


@pytest.mark.usefixtures("_kind_of_file")
def test_existing_file_is_replaced_where_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    path.chmod(0o644)
    with ResultFile(path, SCHEMA, overwrite=True) as result:
        result.write(ROWS.slice(0, 1))
    assert path.read_bytes() == b'key,note\n0049,"say ""hi"""\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == ["out.csv"]


def test_file_system_without_links_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(pending_file, "_open_unnamed", lambda _: None)
    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "out.csv"
    with ResultFile(path, SCHEMA) as result:
        result.write(ROWS)
    assert names(tmp_path) == ["out.csv"]
    with pytest.raises(InputError), ResultFile(tmp_path / "two.csv", SCHEMA):
        (tmp_path / "two.csv").write_text("other")
    assert (tmp_path / "two.csv").read_text() == "other"


@pytest.mark.parametrize("place", ["absent/out.csv", "file/out.csv"])
def test_folder_that_is_not_there_is_an_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as caught, ResultFile(tmp_path / place, SCHEMA):
        pytest.fail("entered")
    assert caught.value.reason == "output_not_written"


def test_killed_process_leaves_nothing(tmp_path: Path) -> None:
    program = f"""
        import os, signal, pathlib
        import pyarrow as pa
        from psishare.tables import ResultFile
        batch = pa.record_batch({{"key": ["sentinel"] * 100_000}})
        with ResultFile(pathlib.Path({str(tmp_path)!r}) / "out.csv", batch.schema) as result:
            result.write(batch)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert names(tmp_path) == []


class _Output:
    def __init__(self) -> None:
        self.buffer = io.BytesIO()


def test_standard_output_gets_rows_only_once_all_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = _Output()
    monkeypatch.setattr(sys, "stdout", output)
    with ResultFile("-", SCHEMA) as result:
        result.write(ROWS.slice(0, 1))
        assert output.buffer.getvalue() == b""
    assert output.buffer.getvalue() == b'key,note\n0049,"say ""hi"""\n'


def test_standard_output_gets_nothing_after_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    output = _Output()
    monkeypatch.setattr(sys, "stdout", output)
    with pytest.raises(KeyboardInterrupt):
        write_then(Path("-"), interrupt)
    assert output.buffer.getvalue() == b""


@pytest.mark.parametrize("name", ["csv.gz", "xlsx", "", "jsonl.zst"])
def test_standard_output_takes_known_formats_only(name: str) -> None:
    with pytest.raises(InputError) as caught:
        ResultFile("-", SCHEMA, name)
    assert caught.value.reason == "format_unknown"


@pytest.mark.parametrize("type_", [pa.binary(), pa.list_(pa.int8()), pa.struct([("a", pa.int8())])])
def test_column_without_a_form_in_csv_is_refused_at_once(
    tmp_path: Path, type_: pa.DataType
) -> None:
    with pytest.raises(InputError, match="'odd'") as caught:
        ResultFile(tmp_path / "out.csv", pa.schema([("odd", type_)]))
    assert caught.value.reason == "column_not_writable"


def test_numbers_dates_and_dictionaries_have_a_form_in_csv(tmp_path: Path) -> None:
    data = pa.table(
        {
            "i": [1, None],
            "f": [0.5, 2.0],
            "b": [True, False],
            "t": pa.array([0, 1], pa.timestamp("s", "UTC")),
            "d": pa.array(["x", "y,z"]).dictionary_encode(),
            "n": pa.nulls(2),
        }
    )
    path = tmp_path / "out.csv"
    write_matches(Table.from_arrow(data), pa.array([True, True]), path)
    assert path.read_text() == (
        'i,f,b,t,d,n\n1,0.5,true,1970-01-01 00:00:00Z,x,\n,2,false,1970-01-01 00:00:01Z,"y,z",\n'
    )


def test_lone_empty_value_is_a_row_when_read_again(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_matches(Table.from_arrow(pa.table({"a": ["", None, "x"]})), pa.array([True] * 3), path)
    assert path.read_bytes() == b'a\n""\n""\nx\n'
    assert sum(batch.num_rows for batch in open_table(path).batches()) == 3


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_no_match_writes_a_header_without_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    table = Table.from_arrow(pa.table({"a": ["1"], "b": ["2"]}))
    assert write_matches(table, pa.array([False]), path) == 0
    again = open_table(path)
    assert again.schema_names == ("a", "b")
    assert list(again.batches()) == []


@pytest.mark.parametrize("chunks", [1, 3])
def test_matching_rows_come_whole_and_in_order(tmp_path: Path, chunks: int) -> None:
    source = tmp_path / "in.csv"
    source.write_text("n,key\n" + "".join(f"{n},+{n:04}\n" for n in range(200_000)))
    wanted = [n % 7 == 3 for n in range(200_000)]
    step = -(-200_000 // chunks)
    mask = pa.chunked_array([wanted[i : i + step] for i in range(0, 200_000, step)])
    written = write_matches(open_table(source), mask, tmp_path / "out.csv")
    assert written == sum(wanted)
    expected = "".join(f"{n},+{n:04}\n" for n in range(200_000) if n % 7 == 3)
    assert (tmp_path / "out.csv").read_text() == "n,key\n" + expected


@pytest.mark.parametrize("n_mask", [0, 1, 2, 4])
def test_mask_of_another_length_is_refused(tmp_path: Path, n_mask: int) -> None:
    table = Table.from_arrow(pa.table({"a": ["1", "2", "3"]}))
    with pytest.raises(InputError) as caught:
        write_matches(table, pa.array([True] * n_mask, pa.bool_()), tmp_path / "out.csv")
    assert caught.value.reason == "input_changed"
    assert names(tmp_path) == []


def test_input_that_changed_since_leaves_no_result(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("a\n1\n2\n")
    table = open_table(source)
    list(table.batches())
    source.write_text("a\n1\n3\n")
    os.utime(source, ns=(0, 0))
    with pytest.raises(InputError) as caught:
        write_matches(table, pa.array([True, True]), tmp_path / "out.csv")
    assert caught.value.reason == "input_changed"
    assert names(tmp_path) == ["in.csv"]


def test_input_may_be_replaced_by_its_own_result(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("a\n1\n2\n")
    write_matches(open_table(source), pa.array([False, True]), source, overwrite=True)
    assert source.read_text() == "a\n2\n"


def test_formula_stays_as_it_is(tmp_path: Path) -> None:
    table = Table.from_arrow(pa.table({"a": ["=1+1", "+49", "-1", "@x"]}))
    write_matches(table, pa.array([True] * 4), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "a\n=1+1\n+49\n-1\n@x\n"
