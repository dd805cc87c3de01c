"""The root command: its members are loaded when they are used, so that each costs only itself."""

from importlib import import_module
from typing import Annotated, Any

import typer

import psishare
from psishare.cli.group import Group, example
from psishare.cli.passphrase import ask_for_passphrases

COMMANDS = (
    "party",
    "peer",
    "mandate",
    "policy",
    "identifiers",
    "dataset",
    "serve",
    "match",
    "offline",
    "exchange",
    "approve",
    "reject",
    "audit",
    "doctor",
    "demo",
)


class Commands(Group):
    """A group whose members are modules of this package."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  typer's signature
        """Return the names, in the order in which they are first used."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  typer's signature
        """Load a member, or return None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        member = typer.main.get_command(import_module(f"psishare.cli.{cmd_name}").app)
        member.name = cmd_name
        return ask_for_passphrases(member)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=example("psishare demo", "psishare match --help"),
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"psishare {psishare.__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Find what two parties' lists have in common, and nothing else.

    Under a signed mandate, with a signed record of every exchange that an auditor can verify.
    """


def command() -> Any:
    """Return the root command."""
    return typer.main.get_command(app)
