"""Nasty lists of every format, each through a whole exchange to a result file.

Each ends in exactly the right rows, or in one of our errors that says what to do, names no value, and
leaves neither a result nor a part of one.
"""

from __future__ import annotations

import gzip
import json
import re
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from stage import NAME, Stage

from psishare.errors import InputError
from psishare.exchange.offering import ListOffering
from psishare.exchange.prepared_list import KeyColumn, prepare
from psishare.psi import suite
from psishare.tables import open_table, write_matches

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.tables import Table

HELD = (b"phone:+447700900001", b"phone:+447700900003")
KEY = KeyColumn("phone", "number", region="GB")
SENTINEL = "sentinel-7f3a9"

Writer = Callable[["Path"], object]
File = tuple[str, Writer, dict[str, Any]]


def text(content: str, *, name: str = "list.csv", encoding: str = "utf-8", **options: Any) -> File:
    return name, lambda path: path.write_bytes(content.encode(encoding)), options


def raw(content: bytes, *, name: str = "list.csv", **options: Any) -> File:
    return name, lambda path: path.write_bytes(content), options


def parquet(columns: dict[str, pa.Array], **options: Any) -> File:
    table = pa.table(columns)
    return "list.parquet", lambda path: pq.write_table(table, path, **options), {}


def arrow(columns: dict[str, pa.Array]) -> File:
    table = pa.table(columns)

    def write(path: Path) -> None:
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)

    return "list.arrow", write, {}


def lines(*rows: Any, name: str = "list.jsonl") -> File:
    return text("".join(json.dumps(row) + "\n" for row in rows), name=name)


def cut(file: File, left: float) -> File:
    """Return a file that was cut off on its way."""
    name, write, options = file

    def written(path: Path) -> None:
        write(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * left)])

    return name, written, options


def strings(*values: str | None, type_: pa.DataType | None = None) -> pa.Array:
    return pa.array(values, type_ or pa.string())


def folder(*files: File) -> File:
    def write(path: Path) -> None:
        path.mkdir()
        for place, (name, write_one, _) in enumerate(files):
            write_one(path / f"{place}-{name}")

    return "folder", write, {}


PLAIN = "ref,number\na,+447700900001\nb,+447700900002\nc,07700 900003\n"

RIGHT: dict[str, tuple[File, list[str]]] = {
    "plain": (text(PLAIN), ["a", "c"]),
    "Windows line ends": (text(PLAIN.replace("\n", "\r\n")), ["a", "c"]),
    "old Macintosh line ends": (text(PLAIN.replace("\n", "\r")), ["a", "c"]),
    "no line end at the end": (text(PLAIN.rstrip("\n")), ["a", "c"]),
    "byte order mark": (text("\ufeff" + PLAIN), ["a", "c"]),
    "byte order mark before a quoted header": (
        text('\ufeff"ref","number"\na,+447700900001\n'),
        ["a"],
    ),
    "blank lines between rows": (text(PLAIN.replace("\nb", "\n\n\nb")), ["a", "c"]),
    "everything quoted": (text('"ref","number"\n"a","+447700900001"\n'), ["a"]),
    "comma inside a value": (text('ref,number,note\na,+447700900001,"x, y"\n'), ["a"]),
    "line break inside a value": (text('ref,number,note\na,+447700900001,"x\ny"\nb,1,z\n'), ["a"]),
    "quote inside a value": (text('ref,number,note\na,+447700900001,"say ""x"""\n'), ["a"]),
    "spaces around the identifier": (text("ref,number\na,  +447700900001 \n"), ["a"]),
    "no-break spaces in the identifier": (text("ref,number\na,+44\u00a07700\u00a0900001\n"), ["a"]),
    "full-width digits": (text("ref,number\na,\uff10\uff17\uff17\uff10\uff10900001\n"), ["a"]),
    "the key column last of many": (
        text(f"ref,{','.join(f'x{i}' for i in range(50))},number\na{',' * 51}+447700900001\n"),
        ["a"],
    ),
    "a column name with a comma": (text('ref,"a,b",number\na,1,+447700900001\n'), ["a"]),
    "semicolons, declared": (text(PLAIN.replace(",", ";"), delimiter=";"), ["a", "c"]),
    "tabs, declared": (text(PLAIN.replace(",", "\t"), delimiter="\t"), ["a", "c"]),
    "Latin-1, declared": (
        text("ref,number,name\na,+447700900001,Müller\n", encoding="latin-1", encoding_="latin-1"),
        ["a"],
    ),
    "UTF-16 with its mark, declared": (
        text(PLAIN, encoding="utf-16", encoding_="utf-16"),
        ["a", "c"],
    ),
    "header only": (text("ref,number\n"), []),
    "no identifier at all in a million commas' worth of rows": (
        text("ref,number\n" + "x,\n" * 100_000),
        [],
    ),
    "the same person five times": (
        text("ref,number\n" + "".join(f"{i},07700900001\n" for i in range(5))),
        ["0", "1", "2", "3", "4"],
    ),
    "rejects between matches": (
        text(f"ref,number\na,+447700900001\nb,{SENTINEL}\nc,\nd,07700900003\n"),
        ["a", "d"],
    ),
    "one row": (text("ref,number\na,07700900001\n"), ["a"]),
    "gzip": (
        ("list.csv.gz", lambda path: path.write_bytes(gzip.compress(PLAIN.encode())), {}),
        ["a", "c"],
    ),
    "gzip in two members": (
        (
            "list.csv.gz",
            lambda path: path.write_bytes(
                gzip.compress(PLAIN[:30].encode()) + gzip.compress(PLAIN[30:].encode())
            ),
            {},
        ),
        ["a", "c"],
    ),
    "Parquet of strings": (
        parquet({"ref": strings("a", "b"), "number": strings("+447700900001", "x")}),
        ["a"],
    ),
    "Parquet with nulls in the key": (
        parquet({"ref": strings("a", "b"), "number": strings(None, "+447700900001")}),
        ["b"],
    ),
    "Parquet with a dictionary": (
        parquet(
            {
                "ref": strings("a", "b", "c"),
                "number": strings("07700900001", "x", "07700900001").dictionary_encode(),
            }
        ),
        ["a", "c"],
    ),
    "Parquet in row groups of one": (
        parquet(
            {"ref": strings("a", "b"), "number": strings("x", "07700900001")}, row_group_size=1
        ),
        ["b"],
    ),
    "Parquet of no rows": (parquet({"ref": strings(), "number": strings()}), []),
    "Parquet with a nested column beside the key": (
        parquet(
            {
                "ref": strings("a"),
                "number": strings("07700900001"),
                "tags": pa.array([["x", "y"]], pa.list_(pa.string())),
            }
        ),
        ["a"],
    ),
    "large strings": (
        arrow(
            {
                "ref": strings("a"),
                "number": strings("07700900001", type_=pa.large_string()),
            }
        ),
        ["a"],
    ),
    "Feather": (
        (
            "list.feather",
            lambda path: feather.write_feather(
                pa.table({"ref": strings("a"), "number": strings("07700900001")}), path
            ),
            {},
        ),
        ["a"],
    ),
    "JSON lines": (
        lines({"ref": "a", "number": "07700900001"}, {"ref": "b", "number": "x"}),
        ["a"],
    ),
    "JSON lines with an escaped character": (
        text('{"ref": "a", "number": "\\u002b447700900001"}\n', name="list.jsonl"),
        ["a"],
    ),
    "JSON lines with a null key": (
        lines({"ref": "a", "number": None}, {"ref": "b", "number": "07700900001"}),
        ["b"],
    ),
    "a folder of two files": (folder(text(PLAIN), text(PLAIN)), ["a", "c", "a", "c"]),
}

WRONG: dict[str, tuple[File, str]] = {
    "another column": (text("ref,phone\na,07700900001\n"), "column_missing"),
    "a column name in other letters": (text("ref,Number\na,07700900001\n"), "column_missing"),
    "a column name with a space": (text("ref,number \na,07700900001\n"), "column_missing"),
    "semicolons, not declared": (text(PLAIN.replace(",", ";")), "column_missing"),
    "a spreadsheet's separator line": (text("sep=;\n" + PLAIN), "column_missing"),
    "an unquoted comma": (text(f"ref,number\na,1\n{SENTINEL},1,2\n"), "csv_malformed"),
    "a quote that is never closed": (text(f'ref,number\n"{SENTINEL},1\nb,2\n'), "csv_malformed"),
    "Latin-1, not declared": (raw(b"ref,number,n\na,1,M\xfcller\n"), "encoding_invalid"),
    "an encoding that there is not": (text(PLAIN, encoding_="klingon"), "encoding_unknown"),
    "an empty file": (raw(b""), "table_empty"),
    "a spreadsheet that is called CSV": (raw(b"PK\x03\x04" + bytes(60)), "encoding_invalid"),
    "a format that is not known": (raw(b"PK\x03\x04", name="list.xlsx"), "format_unknown"),
    "Parquet with the key as integers": (
        parquet({"ref": strings("a"), "number": pa.array([447700900001])}),
        "column_not_text",
    ),
    "Parquet with the key as floats": (
        parquet({"ref": strings("a"), "number": pa.array([4.47700900001e11])}),
        "column_not_text",
    ),
    "Parquet with the key as lists": (
        parquet({"ref": strings("a"), "number": pa.array([["07700900001"]])}),
        "column_not_text",
    ),
    "Parquet cut off": (
        cut(parquet({"ref": strings("a"), "number": strings("1")}), 0.6),
        "parquet_malformed",
    ),
    "Parquet that is text": (raw(b"ref,number\n", name="list.parquet"), "parquet_malformed"),
    "Arrow cut off": (
        cut(arrow({"ref": strings("a"), "number": strings("1")}), 0.7),
        "arrow_malformed",
    ),
    "Arrow that is text": (raw(PLAIN.encode(), name="list.arrow"), "arrow_malformed"),
    "gzip cut off": (
        ("list.csv.gz", lambda p: p.write_bytes(gzip.compress(PLAIN.encode() * 99)[:90]), {}),
        "compression_malformed",
    ),
    "gzip that is text": (raw(PLAIN.encode(), name="list.csv.gz"), "compression_malformed"),
    "JSON that is an array": (text('[{"number": "1"}]', name="list.jsonl"), "jsonl_malformed"),
    "JSON lines cut off": (
        text('{"ref": "a", "number": "1"}\n{"ref": "b", "num', name="list.jsonl"),
        "jsonl_malformed",
    ),
    "JSON lines with a number for a key": (lines({"ref": "a", "number": 7}), "column_not_text"),
    "JSON lines with another key in row 1": (
        lines({"ref": "a", "number": "1"}, {"ref": "b", "phone": SENTINEL}),
        "jsonl_malformed",
    ),
    "a folder of unlike files": (
        folder(text(PLAIN), text("ref,phone\na,1\n")),
        "schema_differs",
    ),
    "a folder without a file": (("folder", lambda path: path.mkdir(), {}), "input_unreadable"),
    "no file": (("missing.csv", lambda _path: None, {}), "input_unreadable"),
}


AT_A_ROW = {"csv_malformed", "encoding_invalid", "jsonl_malformed"}


def opened(tmp_path: Path, file: File) -> Table:
    name, write, options = file
    path = tmp_path / name
    write(path)
    if "encoding_" in options:
        options = {"encoding": options["encoding_"]}
    return open_table(path, **options)


def matched(stage: Stage, table: Table, out: Path) -> None:
    """Ask a platform that holds two numbers about a table, and write what matches."""
    asked = prepare(table, KEY, lambda _rows: None)
    held = pa.array([value.split(b":", 1)[1] for value in HELD])
    theirs = prepare(open_table_of(held), KeyColumn("phone", "number"), lambda _rows: None)
    offering = ListOffering.of(
        theirs.distinct, name=NAME, kind="phone", namespace="", ruleset=KEY.ruleset
    )
    ask = stage.ask(
        asked.distinct.to_pylist(),
        kind="phone",
        ruleset=KEY.ruleset,
        mandate=stage.envelope(kinds=["phone"]),
        protocol=suite.Protocol.ECDH,
    )
    outcome = stage.exchange(stage.responder(offering), ask)
    write_matches(table, asked.mask(outcome.matched), out)


def open_table_of(values: pa.Array) -> Table:
    from psishare.tables import Table  # noqa: PLC0415

    return Table.from_arrow(pa.table({"number": values.cast(pa.string())}))


@pytest.mark.parametrize("name", list(RIGHT))
def test_a_nasty_list_gives_exactly_the_right_rows(stage: Stage, tmp_path: Path, name: str) -> None:
    file, expected = RIGHT[name]
    out = tmp_path / "matches.parquet"
    matched(stage, opened(tmp_path, file), out)
    assert pq.read_table(out)["ref"].to_pylist() == expected
    assert out.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", list(WRONG))
def test_a_list_that_cannot_be_read_ends_in_a_clear_error_and_no_result(
    stage: Stage, tmp_path: Path, name: str
) -> None:
    file, reason = WRONG[name]
    out = tmp_path / "results" / "matches.csv"
    out.parent.mkdir()
    with pytest.raises(InputError) as caught:
        matched(stage, opened(tmp_path, file), out)
    assert caught.value.reason == reason
    assert caught.value.mend
    if reason in AT_A_ROW:
        assert re.search(r"\b(row|line|byte) \d", str(caught.value))
    assert SENTINEL not in "".join(traceback.format_exception(caught.value))
    assert list(out.parent.iterdir()) == []
