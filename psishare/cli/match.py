"""``psishare match``: the authority's side of a paired session."""

from pathlib import Path
from typing import Annotated, Any

import typer

import psishare
from psishare.cli.console import number, print_json, say, say_fields, tell_warnings
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
    Key,
    Namespace,
    NoHeader,
    Overwrite,
    Region,
)
from psishare.cli.progress import shown
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
    )
)
def match(
    *,
    home: HomeOfSettings,
    platform: Annotated[str, typer.Option(metavar="ID", help="The pinned platform to ask.")],
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where it listens; a dry run needs none."),
    ] = None,
    dataset: Annotated[str, typer.Option(metavar="NAME", help="The platform's dataset.")],
    mandate: Annotated[Path, typer.Option(metavar="FILE", help="The signed mandate.")],
    data: Annotated[
        Path, typer.Option(metavar="FILE", help="Your list: a file, a folder, a pattern or `-`.")
    ],
    key: Key,
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
    format_: Format = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = ",",
    no_header: NoHeader = False,
    as_text: AsText = False,
    as_json: Json = False,
) -> None:
    """Find out which of your rows the platform has too.

    Neither side learns anything else of the other's list. The result exists only once both parties have signed the receipt and it is in your log.
    """
    if not dry_run:
        _require_out(out, output, as_json=as_json)
    column = psishare.KeyColumn.parse(key, namespace=namespace, region=region)
    table = psishare.open_table(
        data,
        format=format_,
        encoding=encoding,
        delimiter=delimiter,
        header=not no_header,
        as_text=[column.column] if as_text else (),
    )
    if dry_run:
        with shown(quiet=as_json) as report:
            foreseen = psishare.dry_run(
                parties.Home.open(home),
                table,
                key=column,
                platform=platform,
                dataset=dataset,
                mandate=read(mandate, "the mandate"),
                protocol=protocol,
                output=output,
                progress=report,
            )
        show_dry_run(foreseen, platform, as_json=as_json)
        return
    if address is None:
        raise typer.BadParameter("say with --address where the platform listens")
    with (
        shown(quiet=as_json) as report,
        psishare.Party.open(home) as party,
        party.connect(platform, address, timeout_s=timeout) as session,
    ):
        tell_warnings(party.warnings(platform))
        found = session.match(
            table,
            key=column,
            dataset=dataset,
            mandate=mandate,
            protocol=protocol,
            output=output,
            operator=operator,
            out=out,
            overwrite=overwrite,
            progress=report,
        )
    if as_json:
        print_json(_document(found, out))
    elif out == STANDARD_OUTPUT:
        say_fields(_summary(found, out), error=True)
    elif output is Output.COUNT:
        say(str(found.count))
        say_fields(_summary(found, out), error=True)
    else:
        say_fields(_summary(found, out))


def _require_out(out: str | None, output: Output, *, as_json: bool) -> None:
    if output is Output.COUNT and out is not None:
        raise typer.BadParameter("--output count tells a number and takes no --out")
    if output is not Output.COUNT and out is None:
        raise typer.BadParameter("say with --out where the matching rows go")
    if as_json and out == STANDARD_OUTPUT:
        raise typer.BadParameter("--json and --out - both want standard output")


def _document(found: "psishare.Match", out: str | None) -> dict[str, Any]:
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
        "out": out,
    }


def _summary(found: "psishare.Match", out: str | None) -> dict[str, str | None]:
    summary, receipt = found.summary, found.receipt.receipt
    rows = summary.matched_rows
    return {
        "rows": number(summary.rows),
        "rejected": _rejected(found),
        "distinct": number(summary.distinct),
        "asked": f"{number(receipt.requests.rows)} of {receipt.platform}, {receipt.dataset}:"
        f" {number(summary.platform_rows)} items",
        "matched": number(summary.matched),
        "matched rows": None if rows is None else f"{number(rows)}, in {out}",
        "time": f"{summary.seconds:.1f} s",
        "exchange": found.exchange_id,
        "receipt": "signed by both parties"
        + ("" if found.cosigned else "; the platform has yet to cosign your log"),
    }


def _rejected(found: "psishare.Match") -> str:
    rejected = found.summary.rejected
    if not rejected:
        return "0"
    total = number(sum(rejected.values()))
    reasons = ", ".join(f"{reason} {number(n)}" for reason, n in sorted(rejected.items()))
    first = ", ".join(number(row) for row, _reason in found.first_rejects[:5])
    return f"{total}: {reasons}; first at rows {first} (from 0)"
