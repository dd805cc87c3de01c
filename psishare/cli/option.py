"""The options that several commands share.

Command modules leave out ``from __future__ import annotations``: typer reads a command's annotations
when it builds its options.
"""

from pathlib import Path
from typing import Annotated

import typer

HOME_VARIABLE = "PSISHARE_HOME"

Home = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar=HOME_VARIABLE,
        metavar="DIR",
        help="The party's home folder.",
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
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")]
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
        "--no-header", help="A CSV list starts with a row; its columns are column_1 and so on."
    ),
]
AsText = Annotated[
    bool,
    typer.Option(
        "--as-text", help="Read a key column of whole numbers as text; lost zeros stay lost."
    ),
]
