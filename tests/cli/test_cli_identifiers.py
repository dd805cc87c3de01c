"""The kinds, explained by example; a list, counted without a value shown."""

from __future__ import annotations

import csv
import gzip
from typing import TYPE_CHECKING

import pytest
from cli_stage import psi

from psishare.identifiers import KINDS, ruleset_digest

if TYPE_CHECKING:
    from pathlib import Path

SENTINEL = "sentinel-7f3a9"
LIST = f"number,note\n0151 1234 5678,a\n+4915112345678,b\n{SENTINEL},c\n,d\n+33612345678,e\n"
COUNTS = {"rows": 5, "accepted": 3, "repaired": 1, "distinct": 2, "duplicates": 1}
ARGUMENTS = ("--key", "phone=number", "--region", "DE")


@pytest.fixture
def suspects(tmp_path: Path) -> Path:
    path = tmp_path / "suspects.csv"
    path.write_text(LIST)
    return path


def test_list_names_every_kind() -> None:
    found = psi("identifiers", "list", "--json").document["kinds"]
    assert [kind["kind"] for kind in found] == list(KINDS)
    assert all(name in psi("identifiers", "list").out for name in KINDS)


@pytest.mark.parametrize("name", list(KINDS))
def test_explain_shows_digest_and_examples(name: str) -> None:
    ran = psi("identifiers", "explain", name)
    assert ran.code == 0
    assert ruleset_digest(name) in ran.out
    document = psi("identifiers", "explain", name, "--json").document
    assert document["ruleset"] == {"version": 1, "digest": ruleset_digest(name)}
    assert {example["canonical"] is None for example in document["examples"]} == {True, False}


def test_explain_of_an_unknown_kind_ends_with_4() -> None:
    ran = psi("identifiers", "explain", "nothing", "--json")
    assert (ran.code, ran.reason) == (4, "kind_unknown")


def test_check_counts_and_shows_no_value(suspects: Path) -> None:
    ran = psi("identifiers", "check", suspects, *ARGUMENTS, "--json")
    assert ran.document == {
        **COUNTS,
        "rejected": {"letters": 1, "missing": 1},
        "first_rejects": [{"row": 2, "reason": "letters"}, {"row": 3, "reason": "missing"}],
        "rejects": None,
    }
    shown = psi("identifiers", "check", suspects, *ARGUMENTS)
    for text in (ran.out, ran.err, shown.out, shown.err):
        assert SENTINEL not in text
        assert "1511234" not in text


def test_rejected_rows_are_written_for_their_owner_alone(suspects: Path, tmp_path: Path) -> None:
    rejects = tmp_path / "rejected.csv"
    ran = psi("identifiers", "check", suspects, *ARGUMENTS, "--rejects", rejects)
    assert ran.code == 0
    assert rejects.stat().st_mode & 0o777 == 0o600
    with rejects.open() as file:
        rows = list(csv.DictReader(file))
    assert [tuple(row.values()) for row in rows] == [
        ("2", "letters", SENTINEL, "c"),
        ("3", "missing", "", "d"),
    ]
    again = psi("identifiers", "check", suspects, *ARGUMENTS, "--rejects", rejects, "--json")
    assert (again.code, again.reason) == (4, "output_exists")


def test_check_reads_what_is_declared(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(gzip.compress("a;M\u00fcller\nb;M\u00fcller\n".encode("latin-1")))
    options = ("--format", "csv.gz", "--encoding", "latin-1", "--delimiter", ";", "--no-header")
    key = ("--key", "account=column_2")
    ran = psi("identifiers", "check", path, *key, *options, "--json")
    assert (ran.code, ran.document["distinct"], ran.document["duplicates"]) == (0, 1, 1)
