"""Columns of every text type, empty ones, wrong ones; and that no value leaks or leaves."""

from __future__ import annotations

import socket
import traceback
from typing import NoReturn

import pyarrow as pa
import pytest

from psishare.errors import InputError
from psishare.identifiers import KINDS, Reason, canonicalise
from psishare.identifiers.ruleset import vectors

SENTINEL = "sentinel-7f3a9"


@pytest.mark.parametrize(
    "type_",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
)
def test_every_text_type_is_read(type_: pa.DataType) -> None:
    column = pa.array(["192.0.2.1", None, " 192.0.2.1", "x"], pa.string()).cast(type_)
    canonical = canonicalise(column, "ipv4")
    assert canonical.values.type == pa.large_binary()
    assert canonical.values.to_pylist() == [
        b"ipv4\x00\x00192.0.2.1",
        None,
        b"ipv4\x00\x00192.0.2.1",
        None,
    ]
    assert canonical.rejects.rows.type == pa.uint64()
    assert canonical.rejects.rows.to_pylist() == [1, 3]
    assert canonical.rejects.reasons.to_pylist() == [Reason.MISSING, Reason.MALFORMED]


def test_a_phone_number_longer_than_the_parser_reads_is_rejected_however_it_is_spelt() -> None:
    column = pa.array(["+49 151" + " " * n + "12345678" for n in (235, 236)])
    canonical = canonicalise(column, "phone")
    assert canonical.values.to_pylist() == [b"phone\x00\x00+4915112345678", None]
    assert canonical.rejects.rows.to_pylist() == [1]


@pytest.mark.parametrize("column", [pa.array([], pa.string()), pa.chunked_array([], pa.string())])
@pytest.mark.parametrize("name", list(KINDS))
def test_empty_column_has_no_identifiers(name: str, column: pa.Array) -> None:
    canonical = canonicalise(column, name)
    assert len(canonical.values) == 0
    assert canonical.values.type == pa.large_binary()
    assert len(canonical.rejects) == 0


def test_column_of_nulls_is_all_missing() -> None:
    canonical = canonicalise(pa.nulls(3), "account")
    assert canonical.values.to_pylist() == [None] * 3
    assert canonical.rejects.reasons.to_pylist() == ["missing"] * 3


@pytest.mark.parametrize(
    "type_", [pa.int64(), pa.float64(), pa.binary(), pa.decimal128(12), pa.list_(pa.string())]
)
def test_column_that_is_not_text_is_refused(type_: pa.DataType) -> None:
    with pytest.raises(InputError, match="not text") as caught:
        canonicalise(pa.nulls(1, type_), "phone")
    assert caught.value.reason == "column_not_text"


def test_sliced_column_gives_its_own_rows() -> None:
    column = pa.array(["x", "192.0.2.1", None, " 192.0.2.2"])
    canonical = canonicalise(column.slice(1), "ipv4")
    assert canonical.values.to_pylist() == [
        b"ipv4\x00\x00192.0.2.1",
        None,
        b"ipv4\x00\x00192.0.2.2",
    ]
    assert canonical.rejects.rows.to_pylist() == [1]


def test_duplicates_are_kept_row_by_row() -> None:
    column = pa.array(["A@x.org", "a@x.org", "A@x.org", "bad", "bad"])
    canonical = canonicalise(column, "email")
    assert canonical.values.to_pylist()[:3] == [b"email\x00\x00a@x.org"] * 3
    assert canonical.rejects.rows.to_pylist() == [3, 4]


def test_namespace_stands_in_the_identifier() -> None:
    canonical = canonicalise(pa.array(["7"]), "account", namespace="bank.example/savings")
    assert canonical.values[0].as_py() == b"account\x00bank.example/savings\x007"


@pytest.mark.parametrize("namespace", ["A", "a b", "a\x00", "a\n", "ü", "a" * 65, "a_b"])
def test_wrong_namespace_is_refused(namespace: str) -> None:
    with pytest.raises(InputError) as caught:
        canonicalise(pa.array(["7"]), "account", namespace=namespace)
    assert caught.value.reason == "namespace_invalid"


@pytest.mark.parametrize("name", ["", "Phone", "telephone", "phone "])
def test_unknown_kind_is_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        canonicalise(pa.array(["7"]), name)
    assert caught.value.reason == "kind_unknown"
    assert "phone" in caught.value.mend


@pytest.mark.parametrize("region", ["XX", "de", "", "DEU", "001"])
def test_unknown_region_is_refused(region: str) -> None:
    with pytest.raises(InputError) as caught:
        canonicalise(pa.array(["7"]), "phone", region=region)
    assert caught.value.reason == "region_unknown"


@pytest.mark.parametrize("region", ["XX", "de", "", "DEU", "D"])
def test_region_that_issues_no_passports_is_refused(region: str) -> None:
    with pytest.raises(InputError) as caught:
        canonicalise(pa.array(["7"]), "passport", region=region)
    assert caught.value.reason == "region_unknown"


@pytest.mark.parametrize("name", [name for name in KINDS if not KINDS[name].takes_region])
def test_region_of_a_kind_without_regions_is_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        canonicalise(pa.array(["7"]), name, region="DE")
    assert caught.value.reason == "region_unused"


@pytest.mark.parametrize("name", list(KINDS))
def test_bytes_that_are_not_utf_8_are_refused_without_showing_them(name: str) -> None:
    raw = f"{SENTINEL}".encode() + b"\xff"
    offsets = pa.array([0, len(raw)], pa.int32()).buffers()[1]
    column = pa.StringArray.from_buffers(1, offsets, pa.py_buffer(raw))
    with pytest.raises(InputError) as caught:
        canonicalise(column, name)
    assert caught.value.reason == "encoding_invalid"
    _assert_silent(caught.value)


@pytest.mark.parametrize("name", list(KINDS))
def test_rejects_hold_no_value(name: str) -> None:
    canonical = canonicalise(pa.array([f"<{SENTINEL}\x01>"]), name)
    assert len(canonical.rejects) == 1
    assert SENTINEL not in repr(canonical)
    assert SENTINEL not in repr(canonical.rejects)


@pytest.mark.parametrize("name", list(KINDS))
def test_no_kind_opens_a_socket(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        pytest.fail("a socket was opened")

    for attribute in ("socket", "create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, attribute, refuse)
    inputs = [vector.input for vector in vectors(name)]
    canonicalise(pa.array([*inputs, "someone@gmail.com", "gmail.com"], pa.string()), name)


def test_defaults_that_other_code_changes_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    before = canonicalise(pa.array(["a@x.org", '"q"@x.org', "a@[192.0.2.1]"]), "email")
    for option in ("CHECK_DELIVERABILITY", "ALLOW_QUOTED_LOCAL", "ALLOW_DOMAIN_LITERAL"):
        monkeypatch.setattr(f"email_validator.{option}", True)
    after = canonicalise(pa.array(["a@x.org", '"q"@x.org', "a@[192.0.2.1]"]), "email")
    assert after.values == before.values


def test_every_reason_has_a_sentence() -> None:
    assert all(reason.sentence for reason in Reason)


def _assert_silent(fault: InputError) -> None:
    shown = "".join(traceback.format_exception(fault)) + fault.diagnostics()
    assert SENTINEL not in shown
    assert fault.__context__ is None
