"""``psishare approve``: a second operator lets a held offer go on."""

from pathlib import Path
from typing import Annotated

import typer

from psishare.cli.decide import decide
from psishare.cli.group import example, new_command
from psishare.cli.option import Home, Json, OperatorPassphraseFile

app = new_command()


@app.command(
    epilog=example(
        "psishare approve 3979e993 --home tele --show",
        "psishare approve 3979e993 --home tele --operator second",
        "psishare approve 3979e993 --home tele --passphrase-file tele.pass \\",
        "    --operator second --operator-passphrase-file second.pass",
    )
)
def approve(
    ticket: Annotated[
        str, typer.Argument(metavar="TICKET", help="The exchange's id, or how it begins.")
    ],
    *,
    home: Home,
    operator: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Your own home folder, whose key signs the approval."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Only show what there is to approve.")
    ] = False,
    operator_passphrase_file: OperatorPassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Approve an offer that the platform holds, with a key of your own.

    What you approve is this offer and no other: one list of this authority, asked once. The platform
    must have pinned your card with `--trust approver`. Where both homes have passphrases, both are needed:
    yours signs the approval, the platform's signs its log.
    """
    decide(
        home,
        ticket,
        operator,
        "approved",
        operator_passphrase_file=operator_passphrase_file,
        show=show,
        as_json=as_json,
    )
