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
