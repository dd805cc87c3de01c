"""The benchmarks' own parts: lists, record, plan and page."""

from __future__ import annotations

import csv
import signal
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import page
from benchmarks.__main__ import FULL, QUICK
from benchmarks.contestants import CONTESTANTS, Result
from benchmarks.lists import Lists, make_lists
from benchmarks.measure import Cost, MeasuredError, finish_together, start_quiet
from benchmarks.one_core import OneCore
from benchmarks.record import Cell, Record

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def lists(tmp_path: Path) -> Lists:
    made = Lists.at(tmp_path, 300, 200, None)
    made.write()
    return made


def numbers(path: Path) -> list[str]:
    with path.open(encoding="ascii", newline="") as file:
        return [row["number"] for row in csv.DictReader(file)]


def test_lists_share_a_tenth_of_the_shorter_one(lists: Lists) -> None:
    platform, authority = numbers(lists.platform), numbers(lists.authority_canonical)
    assert len(set(platform)) == 300
    assert len(set(authority)) == 200
    assert len(set(platform) & set(authority)) == lists.n_common == 20
    irregular = [n for n in numbers(lists.authority) if not n.startswith("+49")]
    assert 0 < len(irregular) < 40


def test_an_answer_is_held_to_pythons_sets(lists: Lists, tmp_path: Path) -> None:
    rows = lists.authority.read_text(encoding="ascii").splitlines()
    common = set(numbers(lists.platform)) & set(numbers(lists.authority_canonical))
    canonical = numbers(lists.authority_canonical)
    right = [row for row, number in zip(rows[1:], canonical, strict=True) if number in common]
    wrong = next(row for row, n in zip(rows[1:], canonical, strict=True) if n not in common)
    out = tmp_path / "out.csv"
    out.write_text("\n".join([rows[0], *right]), encoding="ascii")
    lists.require_right(out)
    for answer in (right[:-1], [*right, wrong], [*right, right[0]]):
        out.write_text("\n".join([rows[0], *answer]), encoding="ascii")
        with pytest.raises(RuntimeError, match="rows"):
            lists.require_right(out)


def test_lists_are_made_and_answers_checked_in_other_processes(tmp_path: Path) -> None:
    made = make_lists(tmp_path, 40, 20)
    assert len(numbers(made.authority)) == 20
    with pytest.raises(MeasuredError, match="Python's sets"):
        made.check(made.authority)


def test_where_one_of_two_processes_fails_the_other_is_not_waited_for() -> None:
    waits = start_quiet([sys.executable, "-c", "import signal; signal.pause()"])
    fails = start_quiet([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(MeasuredError, match="ended with 3"):
        finish_together([waits, fails], 600)
    assert waits.process.returncode == -signal.SIGKILL
    hangs = start_quiet([sys.executable, "-c", "import signal; signal.pause()"])
    with pytest.raises(MeasuredError, match="hung"):
        finish_together([hangs], 0)
    assert hangs.process.returncode == -signal.SIGKILL


def test_a_record_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "record.jsonl"
    cell = Cell("exchange", "psishare oprf", 10, 10, 0)
    Record(path).add(cell, {"took_s": 2.5})
    again = Record(path)
    assert cell in again
    assert Cell("exchange", "psishare oprf", 10, 10, 1) not in again
    assert again.elapsed_s() == 2.5
    assert again.turns("psishare oprf", 10) == [{"took_s": 2.5}]
    assert again.turns("psishare oprf", 10, 8) == []


@pytest.mark.parametrize("plan", [QUICK, FULL])
def test_a_plan_takes_each_cell_once_a_turn_and_no_contestant_beyond_its_size(plan: Any) -> None:
    cells = list(plan.first_turn())
    assert len(set(cells)) == len(cells)
    for cell in cells:
        if cell.kind == "exchange" and cell.platform == cell.authority:
            each = CONTESTANTS[cell.contestant]
            assert cell.platform <= (each.full_max_exponent if plan.full else each.max_exponent)
    further = [cell for cells in plan.rounds(1) for cell in cells]
    assert len(set(further)) == len(further)
    measured = {(c.kind, c.contestant, c.platform, c.authority) for c in cells}
    assert {(c.kind, c.contestant, c.platform, c.authority) for c in further} <= measured


def test_a_page_tells_what_was_measured_and_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "peer_python", lambda: None)
    record = Record(tmp_path / "record.jsonl")
    record.add(Cell("one_core", "", 0, 0, 0), asdict(OneCore("avx512ifma", 6.0, 24.0, 30.0)))
    for name, wall_s in (("psishare oprf", 2.0), ("psishare ecdh", 1.0), ("OpenMined PSI", 12.0)):
        cost = Cost(wall_s, wall_s, 1 << 20)
        result = asdict(Result(cost, cost, None, 1_000))
        record.add(Cell("exchange", name, 12, 12, 0), result)
    page.write_page(tmp_path / "page.md", record)
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| evaluations in the time of one X25519 of OpenSSL's | 5.00 |  | 1 |" in text
    assert "`oprf` in total, times faster than OpenMined PSI | 6.0 |  | 1 |" in text
    assert "| psishare ecdh | 1.00 |  | 1 | 1.00 | 1 | 1,000 |" in text
    assert "Left out, because they do not install here: SecretFlow ECDH, CURVE_25519" in text
