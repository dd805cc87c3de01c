"""Every command explains itself, with an example, in 80 columns, and cheaply."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from cli_stage import psi

import psishare
from psishare.cli.root import COMMANDS, command

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAVY = ("psishare._native", "pyarrow", "grpc")


def every_command(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], bool]]:
    names = group.list_commands(None) if hasattr(group, "list_commands") else []
    yield path, not names
    for name in names:
        yield from every_command(group.get_command(None, name), (*path, name))


FOUND = list(every_command(command(), ()))
LEAVES = [path for path, is_leaf in FOUND if is_leaf]


def test_the_commands_are_those_that_the_documentation_names() -> None:
    assert {" ".join(path) for path in LEAVES} == {
        *(
            "party init",
            "party show",
            "party export",
            "party passphrase",
            "party renew",
            "party rotate-log-keys",
            "party succeed",
        ),
        *("peer add", "peer list", "peer remove", "peer revoke"),
        *("mandate draft", "mandate sign", "mandate show", "mandate verify"),
        *("mandate revoke", "mandate import", "mandate request"),
        *("policy check", "approve", "reject"),
        *("identifiers list", "identifiers explain", "identifiers check"),
        *("dataset encode", "dataset show", "dataset update", "dataset rotate"),
        *("dataset verify", "dataset revoke", "serve", "match"),
        *("offline export", "offline sync", "offline request", "offline answer"),
        *("offline finish", "offline confirm", "offline release"),
        *("exchange list", "exchange show", "exchange abandon", "doctor", "demo"),
        *(
            "audit export",
            "audit fsck",
            "audit reconcile",
            "audit replay",
            "audit report",
            "audit verify",
            "audit open",
            "audit shred",
            "audit prove",
            "audit dataset-ask",
            "audit dataset-answer",
            "audit dataset-check",
            "audit check-proof",
            "audit witness",
        ),
    }


@pytest.mark.parametrize("path", [path for path, _ in FOUND], ids=" ".join)
def test_help_has_an_example_and_fits_a_terminal(path: tuple[str, ...]) -> None:
    ran = psi(*path, "--help")
    assert ran.code == 0
    assert "Example" in ran.out
    assert "psishare " + " ".join(path) in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    commands = ran.out.partition("\nCommands:\n")[2].partition("\n\n")[0]
    assert "..." not in commands


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_has_json_and_says_what_each_option_does(path: tuple[str, ...]) -> None:
    leaf: Any = command()
    for name in path:
        leaf = leaf.get_command(None, name)
    options = {option for each in leaf.params for option in each.opts}
    assert "--json" in options
    assert all(each.help for each in leaf.params)


def test_no_option_takes_a_secret() -> None:
    names = {
        option
        for path in LEAVES
        for line in psi(*path, "--help").out.splitlines()
        for option in line.split()
        if option.startswith("--")
    }
    assert not {name for name in names if "password" in name or "secret" in name}


def test_version_is_the_packages() -> None:
    ran = psi("--version")
    assert (ran.code, ran.out) == (0, f"psishare {psishare.__version__}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["audit", "verify", "--help"]])
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys; from psishare.cli import run; code = run(sys.argv[1:]);"
        f" loaded = [name for name in {HEAVY} if name in sys.modules];"
        " sys.exit(f'loaded: {loaded}' if loaded else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_groups_are_listed_in_the_order_of_use() -> None:
    lines = psi("--help").out.splitlines()
    listed = lines[lines.index("Commands:") + 1 :]
    # A sentence that goes on in the next line is indented further than the names.
    commands = [line.split()[0] for line in listed if line.startswith("  ") and line[2:3].strip()]
    assert commands[: len(COMMANDS)] == list(COMMANDS)
