"""``psishare mandate request``: a list prepared for a mandate, so that a court can approve exactly it."""

from pathlib import Path
from typing import Annotated

import typer

import psishare
from psishare.cli.console import number, print_json, say, say_fields
from psishare.cli.file import read, require_free, write_new
from psishare.cli.option import (
    AsText,
    Delimiter,
    Encoding,
    Format,
    Home,
    Json,
    Key,
    Namespace,
    NoHeader,
    Overwrite,
    Region,
)
from psishare.cli.progress import shown
from psishare.cli.reading import Reading
from psishare.parties import home as parties
from psishare.parties.card import parse_card

EXAMPLE = (
    "psishare mandate request case.request --home police \\",
    "    --platform tele.example --dataset customers \\",
    "    --data suspects.csv --key phone=number --for court.card",
)


def request(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The request to write.")],
    *,
    home: Home,
    platform: Annotated[str, typer.Option(metavar="ID", help="The platform to be asked.")],
    dataset: Annotated[str, typer.Option(metavar="NAME", help="The platform's dataset.")],
    data: Annotated[
        Path, typer.Option(metavar="FILE", help="Your list: a file, a folder, a pattern or `-`.")
    ],
    key: Key,
    namespace: Namespace = "",
    region: Region = None,
    readers: Annotated[
        list[Path],
        typer.Option(
            "--for",
            metavar="CARD",
            help="Who may open the list: the validator's card; and others'. Repeatable.",
        ),
    ],
    commit_only: Annotated[
        bool,
        typer.Option(
            "--commit-only",
            help="Only commit to the list: the platform cannot check it then, a replay can.",
        ),
    ] = False,
    format_: Format = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = ",",
    no_header: NoHeader = False,
    as_text: AsText = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Prepare a list for a mandate: blind every identifier in advance.

    The file goes to whoever drafts the mandate, and to its validator, who alone (with the other readers) can open the list in it. The platform will evaluate exactly these elements and no others, and never sees the list. This home keeps the seed; `psishare match` finds it there.
    """
    require_free(file, overwrite=overwrite)
    opened = parties.Home.open(home)
    column = psishare.KeyColumn.parse(key, namespace=namespace, region=region)
    reading = Reading(format_, encoding, delimiter, no_header, as_text)
    table = reading.open(data, column.column)
    with shown(quiet=as_json) as report:
        prepared = psishare.request_mandate(
            opened,
            table,
            key=column,
            platform=platform,
            dataset=dataset,
            readers=[parse_card(read(card, "the card")) for card in readers],
            sealed=not commit_only,
            progress=report,
        )
    write_new(file, prepared.data, overwrite=overwrite)
    head = prepared.head
    if as_json:
        print_json(
            {
                "file": str(file),
                "digest": head.digest.hex(),
                "rejected": prepared.rejected,
                **head.model_dump(mode="json"),
            }
        )
        return
    frames = None if head.sealed_request is None else number(len(head.sealed_request.frames))
    say_fields(
        {
            "request": str(file),
            "for": f"{platform}, {dataset}",
            "identifiers": number(head.rows),
            "rejected": number(sum(prepared.rejected.values())),
            "frames": frames,
            "digest": head.digest.hex(),
            "readers": ", ".join(reader.party for reader in head.readers),
        }
    )
    say()
    say(f"Next: the issuer drafts (psishare mandate draft case.mandate --request {file}).")
