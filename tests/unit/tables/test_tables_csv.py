"""CSV as people write it: quotes, line breaks, encodings, delimiters; keys stay text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from psishare.errors import InputError
from psishare.tables import Table, csv_source, open_table
from psishare.tables.data_file import DataFile

if TYPE_CHECKING:
    from pathlib import Path


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    return path


def rows(table: Table) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for batch in table.batches() for row in batch.to_pylist()]


@pytest.mark.parametrize(
    ("data", "names", "expected"),
    [
        (b"a,b\n1,2\n", ("a", "b"), [("1", "2")]),
        (b"a,b\n1,2", ("a", "b"), [("1", "2")]),
        (b"a,b\r\n1,2\r\n", ("a", "b"), [("1", "2")]),
        (b"a,b\r1,2\r", ("a", "b"), [("1", "2")]),
        (b"\xef\xbb\xbfa,b\n1,2\n", ("a", "b"), [("1", "2")]),
        (b'\xef\xbb\xbf"a","b"\n1,2\n', ("a", "b"), [("1", "2")]),
        (b"\n\na,b\n\n1,2\n\n\n3,4\n\n", ("a", "b"), [("1", "2"), ("3", "4")]),
        (b'a\n""\n\nx\n', ("a",), [("",), ("x",)]),
        (b'a,b\n"1,5","say ""hi"""\n', ("a", "b"), [("1,5", 'say "hi"')]),
        (b'a,b\n"x\ny","\r\n"\n', ("a", "b"), [("x\ny", "\r\n")]),
        (b'a,b\n5" pipe,2\n', ("a", "b"), [('5" pipe', "2")]),
        (b"a,b,\n1,2,3\n", ("a", "b", ""), [("1", "2", "3")]),
        (b" a ,b\n 1 , 2\n", (" a ", "b"), [(" 1 ", " 2")]),
        (b'"a,1","b\n2"\n1,2\n', ("a,1", "b\n2"), [("1", "2")]),
        (b"a,b\n,\n", ("a", "b"), [("", "")]),
        ("naïve,日本\nä,ö\n".encode(), ("naïve", "日本"), [("ä", "ö")]),
    ],
)
def test_file_is_read_as_it_is_meant(
    tmp_path: Path, data: bytes, names: tuple[str, ...], expected: list[tuple[str, ...]]
) -> None:
    table = open_table(write(tmp_path, data))
    assert table.schema_names == names
    assert rows(table) == expected


@pytest.mark.parametrize(
    "value",
    [
        "0049",
        "+49301234",
        "1e5",
        "00",
        "NA",
        "null",
        "NaN",
        "true",
        "2024-01-01",
        "1_000",
        " 7",
        "-0",
    ],
)
def test_value_is_never_read_as_anything_but_text(tmp_path: Path, value: str) -> None:
    table = open_table(write(tmp_path, f"key,x\n{value},1\n".encode()))
    assert table.schema == pa.schema([("key", pa.string()), ("x", pa.string())])
    assert rows(table) == [(value, "1")]


@pytest.mark.parametrize("data", [b"a,b", b"a,b\n", b"a,b\r\n", b"\xef\xbb\xbfa,b\n\n\n"])
def test_file_with_a_header_only_has_no_rows(tmp_path: Path, data: bytes) -> None:
    table = open_table(write(tmp_path, data))
    assert table.schema_names == ("a", "b")
    assert list(table.batches()) == []


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "key\nÜñ😀\n"),
        ("utf-8-sig", "key\nÜñ😀\n"),
        ("utf-16", "key\nÜñ😀\n"),
        ("utf-16-le", "key\nÜñ😀\n"),
        ("utf-16-be", "\ufeffkey\nÜñ😀\n"),
        ("utf-32", "key\nÜñ😀\n"),
        ("latin-1", "key\nÜñé\n"),
        ("cp1252", "key\n€Üñ\n"),
        ("koi8-r", "key\nПривет\n"),
        ("gb18030", "key\n张三\n"),
        ("shift_jis", "key\n日本\n"),
        ("euc-kr", "key\n한국\n"),
    ],
)
def test_declared_encoding_is_read(tmp_path: Path, encoding: str, text: str) -> None:
    table = open_table(write(tmp_path, text.encode(encoding)), encoding=encoding)
    assert table.schema_names == ("key",)
    assert rows(table) == [(text.split("\n")[1],)]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ":", " "])
def test_declared_delimiter_is_read(tmp_path: Path, delimiter: str) -> None:
    data = f'a{delimiter}b\n1,5{delimiter}"x{delimiter}y"\n'.encode()
    table = open_table(write(tmp_path, data), delimiter=delimiter)
    assert rows(table) == [("1,5", f"x{delimiter}y")]


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "\r", "\0", "é"])
def test_impossible_delimiter_is_refused(tmp_path: Path, delimiter: str) -> None:
    with pytest.raises(InputError) as caught:
        open_table(write(tmp_path, b"a\n1\n"), delimiter=delimiter)
    assert caught.value.reason == "delimiter_invalid"


@pytest.mark.parametrize("encoding", ["", "no-such", "hex", "rot13", "base64", "utf-8\0"])
def test_unknown_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(InputError) as caught:
        open_table(write(tmp_path, b"a\n1\n"), encoding=encoding)
    assert caught.value.reason == "encoding_unknown"


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7, 16, 64])
def test_rows_do_not_depend_on_where_blocks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", block_bytes)
    text = 'k,v\n1,"a\n\nb"\n2,5" x\n\n3,"""\n"""\n\ufeff4,😀\n5,"\n'
    text += "x" * 50 + '\n"\n6,\n'
    path = write(tmp_path, text.encode())
    # The header must lie in the first block; all other rows may be cut anywhere.
    source = csv_source.CsvSource(
        DataFile.at(path, None), "utf-8", ",", pa.schema([("k", pa.string()), ("v", pa.string())])
    )
    found = [
        tuple(row.values()) for batch in source.batches(["k", "v"], 2) for row in batch.to_pylist()
    ]
    assert found == [
        ("1", "a\n\nb"),
        ("2", '5" x'),
        ("3", '"\n"'),
        ("\ufeff4", "😀"),
        ("5", "\n" + "x" * 50 + "\n"),
        ("6", ""),
    ]


def test_columns_come_alone_and_in_the_order_asked_for(tmp_path: Path) -> None:
    table = open_table(write(tmp_path, b"a,b,c\n1,2,3\n"))
    batches = list(table.batches(["c", "a"]))
    assert [batch.schema.names for batch in batches] == [["c", "a"]]
    assert batches[0].to_pylist() == [{"c": "3", "a": "1"}]


def test_batches_have_at_most_the_rows_asked_for(tmp_path: Path) -> None:
    table = open_table(write(tmp_path, b"a\n" + b"x\n" * 1000))
    sizes = [batch.num_rows for batch in table.batches(max_rows=64)]
    assert sum(sizes) == 1000
    assert max(sizes) <= 64
    assert min(sizes) >= 1
