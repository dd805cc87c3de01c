"""``psishare audit reconcile``: both parties' evidence, side by side."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from psishare.cli.console import number, print_json, say, say_table, short
from psishare.cli.option import Json
from psishare.cli.trust import Trust, read_cards
from psishare.errors import ExitCode
from psishare.evidence.reconcile import Finding, reconcile

EXAMPLE = "psishare audit reconcile tele.bundle police.bundle --trust tele.card ..."

_METAVAR = "BUNDLE|LOGDIR"


def reconcile_logs(
    first: Annotated[Path, typer.Argument(metavar=_METAVAR, help="One party's evidence.")],
    second: Annotated[Path, typer.Argument(metavar=_METAVAR, help="The other party's.")],
    *,
    trust: Trust,
    as_json: Json = False,
) -> None:
    """Compare both parties' logs, entry by entry.

    An exchange that is missing, cut short, edited, reordered or told differently is named, and so is a
    mandate that was used beyond its caps. Two copies of one party's log are compared for a fork. Ends
    with exit code 0 if both tell the same story, 8 if not, 3 if a card lacks.
    """
    result = reconcile(first, second, read_cards(trust))
    if as_json:
        print_json(
            {
                "agree": not result.findings,
                "parties": list(result.parties),
                "exchanges": result.n_exchanges,
                "findings": [asdict(finding) for finding in result.findings],
            }
        )
    elif result.findings:
        headers = ("finding", "in the log of", "exchange or mandate", "detail")
        say_table(headers, [_row(finding) for finding in result.findings])
    else:
        told = f"{number(result.n_exchanges)} exchanges"
        say(f"{' and '.join(result.parties)} tell the same story of {told}.", style="green")
    if result.findings:
        raise typer.Exit(int(ExitCode.AUDIT))


def _row(finding: Finding) -> tuple[str, ...]:
    about = short(finding.exchange_id) if finding.exchange_id else finding.mandate_id or ""
    return finding.finding, finding.party or "both", about, finding.detail
