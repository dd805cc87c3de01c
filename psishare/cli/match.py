"""``psishare match``: the authority's side of a paired session."""

from pathlib import Path
from typing import Annotated, Any

import typer

import psishare
from psishare.cli.console import moment, number, print_json, say, say_fields, tell, tell_warnings
from psishare.cli.file import read
from psishare.cli.group import example, new_command
from psishare.cli.match_dry_run import show_dry_run
from psishare.cli.option import (
    AsText,
    Delimiter,
    Encoding,
    Format,
    HomeOfSettings,
    Json,
    Namespace,
    NoHeader,
    Overwrite,
    Region,
)
from psishare.cli.progress import shown
from psishare.cli.reading import Reading
from psishare.cli.row_counts import rejected_text
from psishare.exchange.document import write_time
from psishare.parties import home as parties
from psishare.psi.suite import Output, Protocol

STANDARD_OUTPUT = "-"

app = new_command()


@app.command(
    epilog=example(
        "psishare match --home police --platform tele.example \\",
        "    --address tele.example:7447 --dataset customers \\",
        "    --mandate case.mandate --data suspects.csv --key phone=number \\",
        "    --out matches.csv",
        "psishare match --home police --resume 3f9a",
    )
)
def match(
    *,
    home: HomeOfSettings,
    platform: Annotated[
        str | None, typer.Option(metavar="ID", help="The pinned platform to ask.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where it listens; a dry run needs none."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="The platform's dataset.")
    ] = None,
    mandate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The signed mandate.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your list: a file, a folder, a pattern or `-`."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KIND=COLUMN",
            help="The kind of the identifiers and the column that holds them: phone=number.",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Go on with this exchange, as it was begun; see `psishare exchange list`.",
        ),
    ] = None,
    namespace: Namespace = "",
    region: Region = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Where the matching rows go: csv, parquet, arrow, jsonl; `-`: standard output.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Tell who would learn what, and what the mandate allows; ask nobody.",
        ),
    ] = False,
    protocol: Annotated[Protocol, typer.Option(help="How to compare the lists.")] = Protocol.OPRF,
    output: Annotated[
        Output,
        typer.Option(
            help="What to learn: your matches, their number, or the matches on both sides."
        ),
    ] = Output.MATCHES,
    operator: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Who you are, for your records; your login if absent."),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, help="How long each call may take."),
    ] = 60.0,
    retry_for: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.0,
            help="For how long a call that gets no answer is made again.",
        ),
    ] = 300.0,
    format_: Format = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = ",",
    no_header: NoHeader = False,
    as_text: AsText = False,
    as_json: Json = False,
) -> None:
    """Find out which of your rows the platform has too.

    Neither side learns anything else of the other's list. The result exists only once both parties have signed the receipt and it is in your log. An exchange whose connection is lost or whose process ends can go on with --resume, within 24 hours; the other options are then as they were, and --address, --data, --out and --overwrite can be given anew.
    """
    if as_json and out == STANDARD_OUTPUT:
        raise typer.BadParameter("--json and --out - both want standard output")
    reading = Reading(format_, encoding, delimiter, no_header, as_text)
    if resume is not None:
        with shown(quiet=as_json) as report, psishare.Party.open(home) as party:
            tell_warnings(party.warnings(party.exchange(resume).peer))
            found = party.resume(
                resume,
                address=address,
                data=None if data is None else reading.open(data, _column(key)),
                out=out,
                overwrite=overwrite or None,
                timeout_s=timeout,
                retry_for_s=retry_for,
                progress=report,
            )
        say_match(found, as_json=as_json)
        return
    _require(platform=platform, dataset=dataset, mandate=mandate, data=data, key=key)
    if not dry_run:
        _require(address=address)
        require_out(out, output)
    column = psishare.KeyColumn.parse(key or "", namespace=namespace, region=region)
    table = reading.open(data or Path(), column.column)
    if dry_run:
        with shown(quiet=as_json) as report:
            foreseen = psishare.dry_run(
                parties.Home.open(home),
                table,
                key=column,
                platform=platform or "",
                dataset=dataset or "",
                mandate=read(mandate or Path(), "the mandate"),
                protocol=protocol,
                output=output,
                progress=report,
            )
        show_dry_run(foreseen, platform or "", as_json=as_json)
        return
    with (
        shown(quiet=as_json) as report,
        psishare.Party.open(home) as party,
        party.connect(
            platform or "", address or "", timeout_s=timeout, retry_for_s=retry_for
        ) as session,
    ):
        tell_warnings(party.warnings(platform or ""))
        if not as_json:
            _tell_resumable(party)
        found = session.match(
            table,
            key=column,
            dataset=dataset or "",
            mandate=mandate or Path(),
            protocol=protocol,
            output=output,
            operator=operator,
            out=out,
            overwrite=overwrite,
            progress=report,
        )
    say_match(found, as_json=as_json)


def _column(key: str | None) -> str | None:
    return None if key is None else psishare.KeyColumn.parse(key).column


def say_match(found: "psishare.Match", *, as_json: bool) -> None:
    """Print what an exchange brought."""
    if as_json:
        print_json(_document(found))
    elif found.out == STANDARD_OUTPUT:
        say_fields(_summary(found), error=True)
    elif found.is_count:
        say(str(found.count))
        say_fields(_summary(found), error=True)
    else:
        say_fields(_summary(found))


def _tell_resumable(party: "psishare.Party") -> None:
    """Tell of what was left open: it is the user's to say what becomes of it."""
    for one in party.resumable():
        short_id = one.row.exchange_id.hex()[:12]
        tell(
            f"exchange {short_id} with {one.row.peer} can go on until {moment(write_time(one.until))}:"
            f" psishare match --resume {short_id}"
        )


def _require(**options: object) -> None:
    """Refuse a new exchange for which something is not said."""
    for name, value in options.items():
        if value is None:
            raise typer.BadParameter(f"missing option '--{name}'; or go on with --resume")


def require_out(out: str | None, output: Output) -> None:
    """Refuse to go on without a place for rows, or with one where there are none."""
    if output is Output.COUNT and out is not None:
        raise typer.BadParameter("--output count tells a number and takes no --out")
    if output is not Output.COUNT and out is None:
        raise typer.BadParameter("say with --out where the matching rows go")


def _document(found: "psishare.Match") -> dict[str, Any]:
    summary, receipt = found.summary, found.receipt.receipt
    return {
        "exchange_id": found.exchange_id,
        "platform": receipt.platform,
        "dataset": receipt.dataset,
        "protocol": receipt.protocol,
        "output": receipt.output,
        "mandate_id": receipt.mandate_id,
        "rows": summary.rows,
        "rejected": summary.rejected,
        "first_rejects": [{"row": row, "reason": reason} for row, reason in found.first_rejects],
        "distinct": summary.distinct,
        "asked": receipt.requests.rows,
        "matched": summary.matched,
        "matched_rows": summary.matched_rows,
        "platform_rows": summary.platform_rows,
        "seconds": round(summary.seconds, 3),
        "receipt_sha256": receipt.sha256.hex(),
        "cosigned": found.cosigned,
        "out": found.out,
    }


def _summary(found: "psishare.Match") -> dict[str, str | None]:
    summary, receipt = found.summary, found.receipt.receipt
    rows = summary.matched_rows
    return {
        "rows": number(summary.rows),
        "rejected": rejected_text(summary.rejected, found.first_rejects),
        "distinct": number(summary.distinct),
        "asked": f"{number(receipt.requests.rows)} of {receipt.platform}, {receipt.dataset}:"
        f" {number(summary.platform_rows)} items",
        "matched": number(summary.matched),
        "matched rows": None if rows is None else f"{number(rows)}, in {found.out}",
        "time": f"{summary.seconds:.1f} s",
        "exchange": found.exchange_id,
        "receipt": "signed by both parties"
        + ("" if found.cosigned else "; the platform has yet to cosign your log"),
    }
