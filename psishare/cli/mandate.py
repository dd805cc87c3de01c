"""``psishare mandate``: draft, sign, show, verify and revoke what authorises exchanges."""

from pathlib import Path
from typing import Annotated

import typer

import psishare
from psishare.cli import mandate_draft, mandate_request, mandate_revoke, mandate_sign
from psishare.cli.console import print_json, say
from psishare.cli.file import read
from psishare.cli.group import example, new_group
from psishare.cli.mandate_shown import mandate_document, say_mandate
from psishare.cli.option import Home, Json
from psishare.errors import VerificationError
from psishare.mandates.envelope import read_envelope
from psishare.mandates.mandate import Mandate
from psishare.parties import home as parties

app = new_group(
    "Draft, sign, show, verify and revoke mandates.",
    "psishare mandate draft --help",
    "psishare mandate sign case.mandate --home prosecutor",
    "psishare mandate verify case.mandate --home tele",
)

app.command(epilog=example(*mandate_request.EXAMPLE))(mandate_request.request)
app.command(epilog=example(*mandate_draft.EXAMPLE, *mandate_draft.FROM_REQUEST))(
    mandate_draft.draft
)
app.command(epilog=example(*mandate_sign.EXAMPLE))(mandate_sign.sign)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The mandate's file.")]


@app.command(epilog=example("psishare mandate show case.mandate"))
def show(file: File, *, as_json: Json = False) -> None:
    """Show a mandate. Its signatures are counted here, and checked by `psishare mandate verify`."""
    signed = read_envelope(read(file, "the mandate"))
    if as_json:
        print_json(mandate_document(signed))
        return
    say_mandate(signed.mandate, f"{len(signed.key_ids)} of 2, not verified here")


@app.command(epilog=example("psishare mandate verify case.mandate --home tele"))
def verify(
    file: File,
    *,
    home: Home,
    attachment: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The paper that it stands for, to be compared."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify a mandate: signed by parties that are trusted here, and in force now.

    A platform's own policy counts too, and the revocations and successors that this home knows of.
    """
    verified = psishare.verify_mandate(read(file, "the mandate"), parties.Home.open(home))
    mandate = verified.mandate
    if attachment is not None:
        _require_attachment(mandate, attachment)
    if as_json:
        print_json(
            {
                "verified": True,
                "validated": verified.validated,
                "attachment": "same" if attachment else None,
                "mandate": mandate.model_dump(mode="json"),
                "payload_sha256": verified.payload_sha256.hex(),
                "envelope_sha256": verified.envelope_sha256.hex(),
            }
        )
        return
    say_mandate(
        mandate, "2 of 2, both good" if verified.validated else "1 of 2, the issuer's, good"
    )
    say()
    if verified.validated:
        say(f"Signed by {mandate.issuer} and {mandate.validator}, and valid now.", style="green")
    else:
        say(
            f"An emergency, valid now: {mandate.validator} has yet to sign it.",
            style="yellow",
        )


def _require_attachment(mandate: Mandate, attachment: Path) -> None:
    if mandate_draft.file_digest(attachment) != mandate.attachment_sha256:
        raise VerificationError(
            f"{attachment} is not the paper that the mandate stands for",
            mend="Ask the issuer for the paper; neither of the two may be changed.",
            reason="attachment_differs",
        )


app.command(epilog=example(*mandate_revoke.REVOKE_EXAMPLE))(mandate_revoke.revoke)
app.command("import", epilog=example(*mandate_revoke.IMPORT_EXAMPLE))(mandate_revoke.import_)
