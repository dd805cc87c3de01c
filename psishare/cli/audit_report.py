"""``psishare audit report``: a period, as a supervisor wants it told."""

import csv
import sys
from dataclasses import asdict, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from psishare.cli.audit_export import From, To, read_moment
from psishare.cli.console import moment, number, print_json, say, say_fields, say_table, short
from psishare.cli.file import read
from psishare.cli.option import Json
from psishare.cli.silence import told_silence
from psishare.cli.trust import Trust, read_cards
from psishare.evidence.mandate_book import COVERS, NOT_SEEN
from psishare.evidence.report import Event, Report, make_report

EXAMPLE = "psishare audit report tele.bundle --from 2026-01-01 --trust tele.card ..."


class ReportFormat(StrEnum):
    """How a report is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def report(
    evidence: Annotated[Path, typer.Argument(metavar="BUNDLE|LOGDIR", help="A party's evidence.")],
    *,
    trust: Trust,
    since: From = None,
    until: To = None,
    mandate: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A signed mandate that the evidence does not hold."),
    ] = None,
    format_: Annotated[ReportFormat, typer.Option("--format", help="How to print it.")] = (
        ReportFormat.TABLE
    ),
    as_json: Json = False,
) -> None:
    """Tell of each consultation and disclosure: justification, time, who, and to whom.

    Refusals and aborts too, and totals for each authority, mandate and kind. The evidence is verified
    first. Operators and cases stand in it as commitments only.
    """
    told = make_report(
        evidence,
        read_cards(trust),
        since=None if since is None else read_moment(since),
        until=None if until is None else read_moment(until),
        mandates=[read(file, "the mandate") for file in mandate or []],
    )
    if as_json or format_ is ReportFormat.JSON:
        print_json(asdict(told))
    elif format_ is ReportFormat.CSV:
        _write_csv(told)
    else:
        _say(told)


def _write_csv(told: Report) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = [field.name for field in fields(Event)]
    writer.writerow(names)
    for event in told.events:
        values = (getattr(event, name) for name in names)
        writer.writerow(["" if value is None else _unquoted(str(value)) for value in values])
    sys.stdout.flush()


def _unquoted(text: str) -> str:
    """Keep a text from being read as a formula by a spreadsheet."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text


def _say(told: Report) -> None:
    period = f"{told.since or 'the beginning'} to {told.until or 'the end'}"
    say_fields(
        {
            "log of": told.party,
            "period": period,
            "events": number(len(told.events)),
            "silence": told_silence(told.silence),
            "heartbeats": f"{number(told.heartbeats)}, {number(told.failed_handshakes)} strangers",
        }
    )
    if told.events:
        say()
        say_table(
            ("at (UTC)", "what", "by", "at", "#rows", "ended", "mandate", "legal basis"),
            [_row(event) for event in told.events],
        )
    if told.totals:
        say()
        say_table(
            ("authority", "mandate", "kind", "#closed", "#refused", "#aborted", "#held", "#rows"),
            [
                (
                    total.authority,
                    short(total.mandate_id or ""),
                    total.kind or "",
                    *map(number, (total.exchanges, total.refused, total.aborted)),
                    *map(number, (total.held, total.rows)),
                )
                for total in told.totals
            ],
        )


def _row(event: Event) -> tuple[str, ...]:
    reason = f": {event.reason}" if event.reason else ""
    return (
        moment(event.time),
        f"{event.event} {event.dataset or ''}".strip(),
        event.authority,
        event.platform,
        "" if event.rows is None else number(event.rows),
        f"{event.outcome}{reason}{_broken(event)}",
        short(event.mandate_id or ""),
        event.legal_basis or "",
    )


def _broken(event: Event) -> str:
    """Name the rule of the mandate that an event broke."""
    judged = event.mandate
    return "" if judged in {COVERS, NOT_SEEN, "not_judged"} else f"; {judged}"
