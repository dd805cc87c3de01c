"""Every example runs, in a clean folder, and prints what its README shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from shown_output import assert_shown

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMEOUT_S = 300.0


def _run(*command: str, folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("PSISHARE_HOME", None)
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def _shown(example: str) -> str:
    """Return what the README of an example shows of its output: the second plain block."""
    readme = (EXAMPLES / example / "README.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"(?ms)^```\n(.*?)^```$", readme)
    return blocks[1]


def test_every_example_is_listed_has_a_readme_and_is_run_here() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert folders == {
        "air-gap",
        "two-parties-cli",
        "sealed-request",
        "compliance-system",
        "auditor",
    }
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for folder in folders:
        assert f"]({folder}/)" in listed
        assert (EXAMPLES / folder / "README.md").is_file()


def test_two_parties_find_exactly_the_expected_rows(tmp_path: Path) -> None:
    script = str(EXAMPLES / "two-parties-cli" / "run.sh")
    printed = _run("bash", script, "stage", folder=tmp_path)
    assert printed.endswith("The log of police.example verifies.\n\nAll as expected.\n")
    expected = (EXAMPLES / "two-parties-cli" / "expected.csv").read_bytes()
    assert (tmp_path / "stage" / "matches.csv").read_bytes() == expected


def test_a_court_approves_one_list_and_nothing_else_is_asked(tmp_path: Path) -> None:
    script = str(EXAMPLES / "sealed-request" / "run.sh")
    printed = _run("bash", script, "stage", folder=tmp_path)
    assert printed.endswith("The log of police.example verifies.\n\nAll as expected.\n")
    reasons = ("request_unseen", "list_not_approved", "mandate_revoked")
    assert all(printed.count(f"[{reason}]") == 1 for reason in reasons)
    assert len(re.findall(r"closed +covers", printed)) == 2
    expected = (EXAMPLES / "sealed-request" / "expected.csv").read_bytes()
    assert (tmp_path / "stage" / "matches.csv").read_bytes() == expected
    left = {path.name for path in (tmp_path / "stage").iterdir()}
    assert not left & {"again.csv", "neighbour.csv", "list.txt"}


def test_two_parties_fail_where_the_platform_cannot_serve(tmp_path: Path) -> None:
    """The script ends with the first command that fails, and leaves no process behind."""
    (tmp_path / "stage" / "tele").mkdir(parents=True)
    (tmp_path / "stage" / "tele" / "not-empty").touch()
    with pytest.raises(AssertionError, match="is there already"):
        _run("bash", str(EXAMPLES / "two-parties-cli" / "run.sh"), "stage", folder=tmp_path)


def test_an_air_gap_comes_to_the_same_rows(tmp_path: Path) -> None:
    printed = _run("bash", str(EXAMPLES / "air-gap" / "run.sh"), "stage", folder=tmp_path)
    assert "[parcel_damaged]" in printed
    assert printed.endswith("\nAll as expected.\n")
    expected = (EXAMPLES / "air-gap" / "expected.csv").read_bytes()
    assert (tmp_path / "stage" / "inside" / "matches.csv").read_bytes() == expected
    assert expected == (EXAMPLES / "two-parties-cli" / "expected.csv").read_bytes()


@pytest.mark.parametrize(
    ("example", "program"),
    [("compliance-system", "four_cases.py"), ("auditor", "two_forgeries.py")],
)
def test_programs_print_what_their_readme_shows(example: str, program: str, tmp_path: Path) -> None:
    printed = _run(sys.executable, str(EXAMPLES / example / program), folder=tmp_path)
    assert_shown(_shown(example), printed)
    assert not any(tmp_path.iterdir())
