"""``psishare identifiers``: the kinds that there are, and how well a list keeps to one."""

from pathlib import Path
from typing import Annotated

import typer

import psishare
from psishare.cli.console import number, print_json, say, say_fields, say_table
from psishare.cli.group import example, new_group
from psishare.cli.option import (
    AsText,
    Delimiter,
    Encoding,
    Format,
    Json,
    Key,
    Namespace,
    NoHeader,
    Overwrite,
    Region,
)
from psishare.cli.progress import shown
from psishare.cli.reading import Reading

CHECK = "psishare identifiers check suspects.csv --key phone=number"

app = new_group(
    "Show the kinds of identifiers; check a list before it is used.",
    "psishare identifiers list",
    "psishare identifiers explain passport",
    CHECK,
)


@app.command("list", epilog=example("psishare identifiers list"))
def list_(*, as_json: Json = False) -> None:
    """Show every kind of identifier."""
    kinds = [psishare.describe_kind(name) for name in psishare.kind_names()]
    if as_json:
        print_json({"kinds": [{"kind": kind.name, "summary": kind.summary} for kind in kinds]})
        return
    say_table(("kind", "what it is"), [(kind.name, kind.summary) for kind in kinds])


@app.command(epilog=example("psishare identifiers explain iban"))
def explain(
    name: Annotated[str, typer.Argument(metavar="KIND", help="The kind, such as iban.")],
    *,
    as_json: Json = False,
) -> None:
    """Show a kind's rules by example, and the digest that both sides must share."""
    kind = psishare.describe_kind(name)
    if as_json:
        print_json(
            {
                "kind": kind.name,
                "summary": kind.summary,
                "note": kind.note,
                "takes_region": kind.takes_region,
                "ruleset": {"version": kind.version, "digest": kind.digest},
                "examples": [
                    {"value": e.value, "canonical": e.canonical, "reason": e.reason, "rule": e.rule}
                    for e in kind.examples
                ],
            }
        )
        return
    say_fields(
        {
            "kind": f"{kind.name}: {kind.summary}",
            "mind": kind.note,
            "region": "taken from --region where a value has none" if kind.takes_region else None,
            "ruleset": f"version {kind.version}, {kind.digest}",
        }
    )
    say()
    say_table(
        ("value", "becomes", "by"),
        [(e.value, e.canonical or f"rejected: {e.reason}", e.rule) for e in kind.examples],
    )


@app.command(epilog=example(CHECK, f"{CHECK} \\", "    --rejects rejected.csv"))
def check(
    data: Annotated[
        str, typer.Argument(metavar="FILE", help="The list: a file, a folder, a pattern or `-`.")
    ],
    *,
    key: Key,
    namespace: Namespace = "",
    region: Region = None,
    rejects: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the rejected rows here, with row number and reason, for you alone.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    format_: Format = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = ",",
    no_header: NoHeader = False,
    as_text: AsText = False,
    as_json: Json = False,
) -> None:
    """Count what a list's key column holds, without printing a value."""
    column = psishare.KeyColumn.parse(key, namespace=namespace, region=region)
    reading = Reading(format_, encoding, delimiter, no_header, as_text)
    table = reading.open(data, column.column)
    with shown(quiet=as_json) as report:
        found = psishare.check_list(
            table, column, rejects=rejects, overwrite=overwrite, progress=report
        )
    if as_json:
        print_json(
            {
                "rows": found.rows,
                "accepted": found.accepted,
                "repaired": found.repaired,
                "distinct": found.distinct,
                "duplicates": found.duplicates,
                "rejected": found.rejected,
                "first_rejects": [
                    {"row": row, "reason": reason} for row, reason in found.first_rejects
                ],
                "rejects": None if rejects is None else str(rejects),
            }
        )
        return
    first = ", ".join(f"{number(row)} ({reason})" for row, reason in found.first_rejects[:5])
    say_fields(
        {
            "rows": number(found.rows),
            "accepted": f"{number(found.accepted)}, of them repaired {number(found.repaired)}",
            "distinct": number(found.distinct),
            "duplicates": number(found.duplicates),
            "rejected": number(sum(found.rejected.values())),
            **{f"  {reason}": number(n) for reason, n in found.rejected.items()},
            "first at rows": f"{first}, from 0" if first else None,
            "written to": None if rejects is None else str(rejects),
        }
    )
