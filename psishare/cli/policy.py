"""``psishare policy``: what the platform's own rules make of an offer."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

import psishare
from psishare.cli.console import number, print_json, say, say_fields
from psishare.cli.file import read
from psishare.cli.group import example, new_group
from psishare.cli.option import Home, Json
from psishare.cli.rule_table import rules_document, say_rules
from psishare.errors import ExitCode
from psishare.parties import home as parties
from psishare.parties.field import TIME_FORMAT
from psishare.psi.suite import Output, Protocol

CHECK = (
    "psishare policy check case.mandate --home tele \\",
    "    --dataset customers --rows 5000",
)

HELD = "psishare policy check --home tele --offer 3979e993"

app = new_group("Tell what the platform's own rules make of an offer.", *CHECK, HELD)


def _moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise typer.BadParameter("write 2027-01-31T12:00:00Z (UTC)") from None


@app.command(epilog=example(*CHECK, HELD))
def check(
    mandate: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="The mandate's file; none with --offer."),
    ] = None,
    *,
    home: Home,
    offer: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="An offer that is held or was opened, instead of a file and terms."
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="The dataset asked.")] = None,
    rows: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="How many identifiers.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help="Their kind; the mandate's if it has one.")
    ] = None,
    protocol: Annotated[Protocol, typer.Option(help="How to compare the lists.")] = Protocol.OPRF,
    output: Annotated[Output, typer.Option(help="What is to be learnt.")] = Output.MATCHES,
    dataset_rows: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="The dataset's size; as encoded if absent and it is encoded."
        ),
    ] = None,
    approved: Annotated[
        bool, typer.Option("--approved", help="As if a second operator had approved it.")
    ] = False,
    at: Annotated[
        datetime | None,
        typer.Option(parser=_moment, metavar="TIME", help="When it would be made; now if absent."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell what would become of an offer, and why, rule by rule.

    Nothing is reserved and nothing is logged. Exit code 5 if it would be refused or held.
    """
    if offer is not None:
        with psishare.Party.open(home) as party:
            found = psishare.check_offer(party, offer, approved=approved, at=at)
    else:
        if mandate is None or dataset is None or rows is None:
            raise typer.BadParameter("give a mandate's file, --dataset and --rows, or --offer")
        terms = psishare.OfferTerms(
            dataset=dataset,
            rows=rows,
            kind=kind,
            protocol=protocol.value,
            output=output.value,
            dataset_rows=dataset_rows,
            approved=approved,
        )
        envelope = read(mandate, "the mandate")
        found = psishare.check_policy(parties.Home.open(home), envelope, terms, at=at)
    if as_json:
        print_json(_document(found))
    else:
        _show(found)
    if found.verdict != "allow":
        raise typer.Exit(ExitCode.REFUSED)


def _document(found: "psishare.PolicyCheck") -> dict[str, Any]:
    spent = found.spent
    return {
        "verdict": found.verdict,
        "reason": found.reason,
        "sentence": found.sentence,
        "mandate_id": found.mandate.id,
        "at": found.at.strftime(TIME_FORMAT),
        "spent": {
            name: {"rows": usage.rows, "exchanges": usage.exchanges}
            for name, usage in (
                ("mandate", spent.mandate),
                ("day", spent.day),
                ("authority_day", spent.authority),
                ("kind_day", spent.kind),
            )
        },
        "rules": rules_document(found.rules),
    }


def _show(found: "psishare.PolicyCheck") -> None:
    spent = found.spent.mandate
    say_rules(found.rules)
    say()
    say_fields(
        {
            "mandate": found.mandate.id,
            "spent of it": f"{number(spent.rows)} rows, {number(spent.exchanges)} exchanges",
            "verdict": found.verdict if found.reason is None else _because(found),
        }
    )


def _because(found: "psishare.PolicyCheck") -> str:
    return f"{found.verdict}: {found.sentence} [{found.reason}]"
