"""``psishare mandate sign``: a signature, after what is to be signed has been computed again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import psishare
from psishare.cli.console import number, print_json, say
from psishare.cli.file import read, require_free, write_new
from psishare.cli.mandate_draft import MAX_REQUEST
from psishare.cli.mandate_shown import mandate_document
from psishare.cli.option import Home, Json, Overwrite
from psishare.cli.progress import shown
from psishare.mandates.envelope import read_envelope
from psishare.parties import home as parties

if TYPE_CHECKING:
    from psishare.exchange.request_file import OpenedRequest

EXAMPLE = (
    "psishare mandate sign case.mandate --home prosecutor",
    "psishare mandate sign case.mandate --home court \\",
    "    --request case.request --list-to list.txt",
)


def sign(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The mandate's file.")],
    *,
    home: Home,
    request: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The prepared list that the mandate approves, to be checked first."
        ),
    ] = None,
    list_to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the list here, one identifier a line, for you to read."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write here instead of in place.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Add this party's signature, as the mandate's issuer or its validator.

    What you sign is what `psishare mandate show` shows: read that first. Where the mandate approves a list, its validator gives the request: every element is computed again from the list, and nothing is signed if one differs.
    """
    _require_files(list_to, out, request, overwrite=overwrite)
    opened = parties.Home.open(home)
    prepared = None if request is None else read(request, "the request", max_bytes=MAX_REQUEST)
    with shown(quiet=as_json) as report:
        made = psishare.sign_mandate(
            opened, read(file, "the mandate"), request=prepared, progress=report
        )
    if list_to is not None:
        lines = b"".join(value + b"\n" for value in made.values())
        write_new(list_to, lines, overwrite=overwrite)
    write_new(out or file, made.envelope, overwrite=out is None or overwrite)
    signed = read_envelope(made.envelope)
    if as_json:
        checked = _checked(made.checked)
        print_json(mandate_document(signed) | {"file": str(out or file), "checked": checked})
        return
    if made.checked is not None:
        _say_checked(made.checked)
    if list_to is not None:
        say(f"The list is in {list_to}: destroy it when you have read it.")
    say(f"{opened.id} has signed mandate {signed.mandate.id}: {len(signed.key_ids)} of 2.")


def _require_files(
    list_to: Path | None, out: Path | None, request: Path | None, *, overwrite: bool
) -> None:
    if list_to is not None and request is None:
        raise typer.BadParameter("--list-to writes what is in --request")
    for path in (list_to, out):
        if path is not None:
            require_free(path, overwrite=overwrite)


def _checked(opened: "OpenedRequest | None") -> dict[str, Any] | None:
    if opened is None:
        return None
    head = opened.head
    return {
        "digest": head.digest.hex(),
        "identifiers": head.rows,
        "frames": len(head.sealed_request.frames) if head.sealed_request else None,
        "sealed": head.sealed_request is not None,
    }


def _say_checked(opened: "OpenedRequest") -> None:
    head = opened.head
    if head.sealed_request is None:
        say(f"Checked: the mandate commits to the list of {number(head.rows)} identifiers.")
    else:
        frames = number(len(head.sealed_request.frames))
        say(
            f"Checked: {number(head.rows)} elements in {frames} frames, computed again from seed and"
            " list, are those that the mandate approves."
        )
    say(f"Request {head.digest.hex()}, of {head.authority} for {head.platform}, {head.dataset}.")
