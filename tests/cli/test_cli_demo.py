"""``demo``: the whole of it, checked against the truth, and gone without a trace afterwards."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
from cli_stage import psi, psi_process

from psishare.cli import demo
from psishare.cli.demo_lists import REGION, write_lists
from psishare.identifiers import canonicalise

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def canonical(path: Path, column: str) -> list[bytes | None]:
    with path.open(encoding="utf-8", newline="") as file:
        texts = [row[column] for row in csv.DictReader(file)]
    values: list[bytes | None] = canonicalise(
        pa.array(texts), "phone", region=REGION
    ).values.to_pylist()
    return values


def test_the_demos_truth_is_that_of_the_canonical_forms(tmp_path: Path) -> None:
    lists = write_lists(tmp_path, 3_000)
    held = set(canonical(lists.customers, "number")) - {None}
    sought = canonical(lists.suspects, "phone")
    refs = tuple(f"S-{row:05}" for row, value in enumerate(sought, 1) if value in held)
    assert refs == lists.matching
    assert 0 < len(refs) < lists.n_suspects
    assert None in sought


def test_the_demos_lists_are_the_same_each_time(tmp_path: Path) -> None:
    texts = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        lists = write_lists(tmp_path / name, 500)
        texts.append((lists.customers.read_bytes(), lists.suspects.read_bytes()))
    assert texts[0] == texts[1]


def test_the_demo_ends_well_and_cleans_up(tmp_path: Path) -> None:
    ran = psi_process("demo", "--rows", "400", "--json", env=os.environ | {"TMPDIR": str(tmp_path)})
    assert (ran.code, ran.err) == (0, "")
    assert ran.document["ok"] is True
    assert ran.document["customers"] == 400
    assert ran.document["matching_rows"] > 0
    assert list(tmp_path.iterdir()) == []


def test_the_demo_tells_what_each_side_learned_and_keeps_what_it_is_told_to(
    tmp_path: Path,
) -> None:
    ran = psi_process("demo", "--rows", "200", "--keep", tmp_path / "kept")
    assert (ran.code, ran.err) == (0, "")
    assert "did not learn" in ran.out
    assert "exactly the true overlap" in ran.out
    assert {path.name for path in (tmp_path / "kept").iterdir()} >= {"tele", "matches.csv"}
    listed = psi("exchange", "list", "--home", tmp_path / "kept" / "police", "--json")
    assert [each["state"] for each in listed.document["exchanges"]] == ["closed"]


def test_the_demo_never_writes_into_a_folder_in_use(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    ran = psi("demo", "--rows", "200", "--keep", tmp_path, "--json")
    assert (ran.code, ran.reason) == (4, "output_exists")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_demo_fails_when_the_result_is_not_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lying(folder: Path, rows: int) -> object:
        lists = write_lists(folder, rows)
        return replace(lists, matching=lists.matching[1:])

    monkeypatch.setattr(demo, "write_lists", lying)
    ran = psi("demo", "--rows", "200", "--json")
    assert (ran.code, ran.reason) == (70, "internal")
