"""``psishare reject``: a second operator ends a held offer."""

from pathlib import Path
from typing import Annotated

import typer

from psishare.cli.decide import decide
from psishare.cli.group import example, new_command
from psishare.cli.option import Home, Json, OperatorPassphraseFile

app = new_command()


@app.command(epilog=example("psishare reject 3979e993 --home tele --operator second"))
def reject(
    ticket: Annotated[
        str, typer.Argument(metavar="TICKET", help="The exchange's id, or how it begins.")
    ],
    *,
    home: Home,
    operator: Annotated[
        Path, typer.Option(metavar="DIR", help="Your own home folder, whose key signs it.")
    ],
    operator_passphrase_file: OperatorPassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Reject an offer that the platform holds, with a key of your own.

    The authority is refused when it asks again. Where both homes have passphrases, both are needed: yours
    signs the rejection, the platform's signs its log.
    """
    decide(
        home,
        ticket,
        operator,
        "rejected",
        operator_passphrase_file=operator_passphrase_file,
        show=False,
        as_json=as_json,
    )
