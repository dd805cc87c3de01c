"""``psishare mandate revoke`` and ``import``: what becomes known of mandates after they were signed."""

from pathlib import Path
from typing import Annotated, Any

import typer

import psishare
from psishare.cli.console import number, print_json, say
from psishare.cli.file import read, require_free, write_new
from psishare.cli.option import Home, Json, Overwrite
from psishare.mandates.revocation import (
    MAX_BYTES,
    RevocationList,
    is_revocations,
    read_revocations,
)
from psishare.parties import home as parties
from psishare.parties.field import write_time

REVOKE_EXAMPLE = (
    "psishare mandate revoke withdrawn.list --home prosecutor \\",
    "    --mandate case.mandate",
    "psishare mandate revoke withdrawn.list --home prosecutor --overwrite",
)
IMPORT_EXAMPLE = (
    "psishare mandate import withdrawn.list --home tele",
    "psishare mandate import validated.mandate --home tele",
)


def revoke(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The list to write.")],
    *,
    home: Home,
    mandates: Annotated[
        list[Path] | None,
        typer.Option(
            "--mandate", metavar="FILE", help="A mandate to withdraw. Repeatable; none renews."
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Withdraw mandates of which this party is the issuer or the validator.

    Writes this party's next revocation list, signed, with everything that it withdrew before. Give it to every platform that a mandate is addressed to; renew it before it is too old for them.
    """
    require_free(file, overwrite=overwrite)
    opened = parties.Home.open(home)
    envelopes = [read(mandate, "the mandate") for mandate in mandates or ()]
    data = psishare.revoke_mandates(opened, envelopes)
    write_new(file, data, overwrite=overwrite)
    made = read_revocations(data)
    if as_json:
        print_json(_document(made) | {"file": str(file)})
        return
    say(f"{_told(made)} is in {file}.")
    say(f"Next: each platform imports it (psishare mandate import {file}).")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A revocation list or a mandate.")],
    *,
    home: Home,
    as_json: Json = False,
) -> None:
    """Take a revocation list, or a mandate that supersedes another or is validated by now.

    It is verified with the keys of the parties trusted here, kept, and entered in the log. A running `serve` heeds it from its next call on.
    """
    opened = parties.Home.open(home)
    data = read(file, "the file", max_bytes=MAX_BYTES)
    if is_revocations(data):
        taken = psishare.import_revocations(opened, data)
        if as_json:
            print_json(_document(taken))
        else:
            say(f"{_told(taken)} counts here from now on.")
        return
    verified = psishare.import_mandate(opened, data)
    mandate = verified.mandate
    if as_json:
        print_json(
            {
                "mandate_id": mandate.id,
                "envelope_sha256": verified.envelope_sha256.hex(),
                "validated": verified.validated,
                "supersedes": mandate.supersedes,
            }
        )
        return
    say(f"Mandate {mandate.id} is kept here.")
    if mandate.supersedes and verified.validated:
        say(f"From now on mandate {mandate.supersedes} is refused, if {mandate.issuer} issued it.")


def _told(revocations: RevocationList) -> str:
    count = number(len(revocations.revoked))
    return (
        f"List {number(revocations.sequence)} of {revocations.party},"
        f" of {write_time(revocations.issued)}, with {count} mandates withdrawn,"
    )


def _document(revocations: RevocationList) -> dict[str, Any]:
    return {
        "revocations": revocations.model_dump(mode="json"),
        "list_sha256": revocations.sha256.hex(),
    }
