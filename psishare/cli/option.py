"""The options that several commands share.

Command modules leave out ``from __future__ import annotations``: typer reads a command's annotations
when it builds its options.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from psishare.parties.settings import read_settings

HOME_VARIABLE = "PSISHARE_HOME"


def flag_of(parameter: Any) -> str:
    """Return the name under which ``party.toml`` knows an option: its flag, with underscores."""
    return str(max(parameter.opts, key=len)).lstrip("-").replace("-", "_")


def _with_settings(context: typer.Context, home: Path) -> Path:
    """Let ``party.toml`` set what the command line does not."""
    settings = read_settings(home, context.info_name or "")
    context.default_map = {
        str(parameter.name): settings[flag_of(parameter)]
        for parameter in context.command.params
        if flag_of(parameter) in settings
    }
    return home


Home = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar=HOME_VARIABLE,
        metavar="DIR",
        help="The party's home folder.",
    ),
]
HomeOfSettings = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar=HOME_VARIABLE,
        metavar="DIR",
        is_eager=True,
        callback=_with_settings,
        help="The party's home folder; its party.toml sets options that are not given here.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        metavar="KIND=COLUMN",
        help="The kind of the identifiers and the column that holds them, such as phone=number.",
    ),
]
Namespace = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        help="Sets apart opaque identifiers of different origin; the same on both sides.",
    ),
]
Region = Annotated[
    str | None,
    typer.Option(
        metavar="CC",
        help="The country of phone numbers that are written without one, such as DE.",
    ),
]
OperatorPassphraseFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Holds the passphrase of the operator's home. Without it, it comes from where that of --home"
        " does.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite/--no-overwrite", help="Replace a file that is there.")
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="The list's format if its suffix does not say it: csv, parquet, arrow, jsonl, csv.gz...",
    ),
]
Encoding = Annotated[
    str, typer.Option(metavar="NAME", help="How a CSV list is encoded; never guessed.")
]
Delimiter = Annotated[
    str, typer.Option(metavar="CHAR", help="What stands between a CSV list's values.")
]
NoHeader = Annotated[
    bool,
    typer.Option(
        "--no-header/--header",
        help="A CSV list starts with a row; its columns are column_1 and so on.",
    ),
]
AsText = Annotated[
    bool,
    typer.Option(
        "--as-text/--as-typed",
        help="Read a key column of whole numbers as text; lost zeros stay lost.",
    ),
]
