"""What the documents point to is there: files, sections, tests, commands and their options."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from psishare.cli.root import command

ROOT = Path(__file__).parents[2]
PLACES = ("*.md", "docs/**/*.md", "examples/**/*.md", "protocols/*.md", "protocols/specs/*.md")
SPECS = ROOT / "protocols" / "specs"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
SECTION = re.compile(r"`([a-z-]+\.md)` sections? (\d+)((?:, \d+)*(?: and \d+)?)")
COMMAND = re.compile(r"`psishare ([a-z ]+(?:-[a-z]+)*)")
OPTION = re.compile(r"`(--[a-z-]+)")
FOREIGN_OPTIONS = frozenset({"--help", "--install-completion", "--show-completion"})

documents = [path for place in PLACES for path in sorted(ROOT.glob(place))]
each_document = pytest.mark.parametrize(
    "document", documents, ids=[str(path.relative_to(ROOT)) for path in documents]
)


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    links = [link for link in LINK.findall(document.read_text("utf-8")) if "://" not in link]
    missing = [link for link in links if not (document.parent / link).exists()]
    assert missing == []


@each_document
def test_tests_that_are_named_exist(document: Path) -> None:
    missing = [
        f"{file}::{name}"
        for file, name in TEST.findall(document.read_text("utf-8"))
        if name not in _tests(ROOT / file)
    ]
    assert missing == []


@pytest.mark.parametrize("name", ["docs/threat-model.md", "docs/operations.md", "README.md"])
def test_sections_of_specifications_that_are_named_exist(name: str) -> None:
    for file, first, more in SECTION.findall((ROOT / name).read_text("utf-8")):
        numbers = set(re.findall(r"(?m)^## (\d+)\. ", (SPECS / file).read_text("utf-8")))
        assert {first, *re.findall(r"\d+", more)} <= numbers, file


@each_document
def test_commands_that_are_named_exist(document: Path) -> None:
    for words in COMMAND.findall(document.read_text("utf-8")):
        found: Any = command()
        for word in words.split():
            if not hasattr(found, "get_command"):
                break
            found = found.get_command(None, word)
            assert found is not None, words


def test_options_that_operators_are_told_of_exist() -> None:
    options = {
        option for leaf in _leaves(command()) for each in leaf.params for option in each.opts
    }
    for name in ("README.md", "docs/operations.md", "docs/threat-model.md"):
        named = set(OPTION.findall((ROOT / name).read_text("utf-8")))
        assert named - FOREIGN_OPTIONS <= options, name


def test_every_mechanism_of_the_threat_model_names_a_test_that_shows_it() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    headers = {"what stops it", "needs", "---"}
    claims = [row for row in rows if len(row) == 4 and row[1] not in headers]
    assert len(claims) > 50
    unshown = [
        row[0]
        for row in claims
        if not row[1].startswith("nothing") and not TEST.search(row[2] + row[3])
    ]
    assert unshown == []


@cache
def _tests(file: Path) -> frozenset[str]:
    return frozenset(re.findall(r"(?m)^def (test_\w+)", file.read_text("utf-8")))


def _leaves(found: Any) -> list[Any]:
    """Return every command that does something."""
    if not hasattr(found, "list_commands"):
        return [found]
    return [
        leaf
        for name in found.list_commands(None)
        for leaf in _leaves(found.get_command(None, name))
    ]
