"""What every command group is made with: plain help that fits a terminal, with examples."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

FIRST_SENTENCE = 1_000
"""Characters of a command's first sentence that its group's help shows: all of them."""


class Group(TyperGroup):
    """A group whose help shows the first sentence of each command whole."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands with their first sentences, wrapped instead of cut."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [
            (name, command.get_short_help_str(FIRST_SENTENCE))
            for name, command in commands
            if command is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def example(*commands: str) -> str:
    """Return the end of a help text: commands as a person would type them, line breaks kept."""
    n_commands = sum(command.startswith("psishare ") for command in commands)
    title = "Example:" if n_commands == 1 else "Examples:"
    # The control character tells typer to leave the paragraph's lines as they are.
    return "\b\n" + "\n".join([title, *(f"  {command}" for command in commands)])


def new_group(summary: str, *examples: str) -> typer.Typer:
    """Return an empty command group."""
    group = typer.Typer(
        cls=Group,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    # With a callback it stays a group even if it has one command only.
    group.callback(help=summary, epilog=example(*examples))(_nothing)
    return group


def new_command() -> typer.Typer:
    """Return the place of one command that stands alone, such as ``serve``."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["--help", "-h"]},
    )


def _nothing() -> None:
    """Do nothing before a command."""
