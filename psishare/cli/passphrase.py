"""The option with which every command that has ``--home`` learns the home's passphrase.

A file that is named, a service's credential, or a person at the terminal, in this order; never an
argument, never the value of an environment variable. Without ``from __future__ import annotations``:
see ``psishare.cli.option``.
"""

import getpass
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from psishare.errors import ConfigError
from psishare.keys.passphrase import (
    FILE_VARIABLE,
    Passphrase,
    asking,
    current_source,
    read_passphrase,
    unattended,
)

OPTION = "--passphrase-file"


class Asked:
    """A source that asks once for each home: the file, the credential, or whoever sits there.

    Args:
        file: the file that was named, or None.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._read: Passphrase | None = None
        self._said: dict[str, Passphrase] = {}

    def __call__(self, what: str, /, *, new: bool = False) -> Passphrase | None:
        """Return the passphrase of a home, or None where there is neither file nor terminal."""
        if self._read is None:
            self._read = unattended(what) if self._file is None else read_passphrase(self._file)
        if self._read is not None:
            return self._read
        if not _is_watched():
            return None
        if new:
            return _choose(what)
        if what not in self._said:
            self._said[what] = Passphrase(_typed(f"Passphrase of {what}"))
        return self._said[what]


def choose_passphrase(home: Path) -> Passphrase:
    """Return a passphrase for a home that is made now: from where the command's passphrase comes from.

    Args:
        home: the home's folder.

    Raises:
        ConfigError: ``passphrase_missing``, there is neither file nor terminal; ``passphrase_unfit``;
            ``passphrase_mismatch``.
    """
    passphrase = current_source()(str(home), new=True)
    if passphrase is None:
        raise ConfigError(
            f"there is no terminal to choose a passphrase for {home} on",
            mend=f"Name a file that holds one, for its owner alone, with {OPTION}; or let `party init`"
            " leave the keys in the clear, with --no-passphrase.",
            reason="passphrase_missing",
        )
    return passphrase


def choose_another_passphrase(home: Path, file: Path | None) -> Passphrase:
    """Return a passphrase that is to take the place of a home's: from a file of its own, or typed twice.

    Args:
        home: the home's folder.
        file: holds it; where None it is asked for, wherever the present one comes from.

    Raises:
        ConfigError: as ``choose_passphrase``.
    """
    if file is not None:
        return read_passphrase(file)
    if not _is_watched():
        raise ConfigError(
            f"there is no terminal to choose another passphrase for {home} on",
            mend="Name a file that holds it, for its owner alone, with --new-passphrase-file.",
            reason="passphrase_missing",
        )
    return _choose(str(home))


def ask_for_passphrases(command: Any) -> Any:
    """Give the option to every command below that has ``--home``, and return the command."""
    for member in getattr(command, "commands", {}).values():
        ask_for_passphrases(member)
    options = {option for parameter in command.params for option in parameter.opts}
    if "--home" in options:
        command.params += typer.main.get_command(_option).params
    return command


def _ask(context: typer.Context, file: Path | None) -> None:
    """Have homes ask the file of the option; one that the environment names is known to come from there."""
    source = context.get_parameter_source("passphrase_file")
    named = source is not None and source.name == "ENVIRONMENT"
    context.with_resource(asking(Asked(None if named else file)))


_option = typer.Typer(add_completion=False, rich_markup_mode=None)


@_option.command()
def _has_the_option(
    *,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            OPTION,
            expose_value=False,
            callback=_ask,
            envvar=FILE_VARIABLE,
            metavar="FILE",
            help="Holds the passphrase of the home's keys. Without it the service's credential is"
            " taken, or you are asked.",
        ),
    ] = None,
) -> None:
    """Carry the option, and nothing else."""


def _is_watched() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _choose(what: str) -> Passphrase:
    chosen = Passphrase(_typed(f"New passphrase for {what}"))
    if Passphrase(_typed("The same again")) != chosen:
        raise ConfigError(
            "the two passphrases differ",
            mend="Start again; nothing has been made.",
            reason="passphrase_mismatch",
        )
    return chosen


def _typed(question: str) -> str:
    try:
        return getpass.getpass(f"{question}: ", stream=sys.stderr)
    except EOFError:
        raise ConfigError(
            "no passphrase was typed",
            mend="Start again.",
            reason="passphrase_missing",
        ) from None
