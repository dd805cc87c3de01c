"""``psishare audit export``: this party's evidence, as one file for an auditor."""

import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from psishare.audit.entry import TIME_FORMAT
from psishare.cli.console import number, print_json, say_fields, tell
from psishare.cli.option import Home, Json
from psishare.cli.progress import shown
from psishare.errors import InputError
from psishare.evidence.export import Exported, Scope, export_bundle
from psishare.parties.home import Home as PartyHome

EXAMPLE = "psishare audit export case.bundle --home tele --mandate K3vY6rTzQw1bXn8s"
PERIOD_EXAMPLE = "psishare audit export q1.bundle --from 2026-01-01 --to 2026-04-01"

From = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="A period's beginning, such as 2026-01-01 (UTC)."),
]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="TIME", help="A period's end, which is not part of it."),
]


def export(
    file: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The file to write.")],
    *,
    home: Home,
    since: From = None,
    until: To = None,
    mandate: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what was done under one mandate.")
    ] = None,
    exchange: Annotated[
        str | None, typer.Option(metavar="ID", help="Only one exchange; its whole id.")
    ] = None,
    all_checkpoints: Annotated[
        bool,
        typer.Option("--all-checkpoints", help="With every checkpoint that was ever signed."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write evidence that verifies offline: entries, proofs, checkpoints, mandates, cards.

    The whole log, or what a period, a mandate or one exchange needs. The file holds no secret and no
    identifier; whoever verifies it brings the cards that they trust.
    """
    scope = read_scope(since, until, mandate, exchange)
    with shown(quiet=as_json) as report:
        done = export_bundle(
            PartyHome.open(home),
            file,
            scope,
            all_checkpoints=all_checkpoints,
            progress=report and partial(report, "exporting"),
        )
    if as_json:
        print_json(
            {
                "file": str(file),
                "party": done.header.party,
                "scope": done.header.scope,
                "tree_size": done.tree_size,
                "entries": done.header.entries,
                "mandates": done.mandates,
                "missing_mandates": list(done.missing_mandates),
            }
        )
        return
    _say(file, done)


def read_scope(
    since: str | None, until: str | None, mandate: str | None, exchange: str | None
) -> Scope:
    """Return what the options name.

    Raises:
        InputError: half a period, more than one scope, or a value that is none.
    """
    given = [since is not None or until is not None, mandate is not None, exchange is not None]
    if sum(given) > 1 or (since is None) != (until is None):
        raise _unreadable("a scope is --from with --to, or --mandate, or --exchange, or none")
    if exchange is not None and not re.fullmatch(r"[0-9a-f]{64}", exchange):
        raise _unreadable("an exchange's id is 64 hexadecimal digits")
    if mandate is not None and not re.fullmatch(r"[A-Za-z0-9_-]{16,64}", mandate):
        raise _unreadable("a mandate's id is 16 to 64 letters, digits, hyphens and underscores")
    return Scope(
        since=None if since is None else read_moment(since),
        until=None if until is None else read_moment(until),
        mandate_id=mandate,
        exchange_id=exchange,
    )


def read_moment(text: str) -> str:
    """Return a day or a time, UTC unless it says otherwise, as entries write it.

    Raises:
        InputError: it is neither.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _unreadable("a time is a day, such as 2026-01-31, or 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).strftime(TIME_FORMAT)


def _say(file: Path, done: Exported) -> None:
    header = done.header
    say_fields(
        {
            "bundle": str(file),
            "log of": header.party,
            "scope": header.scope,
            "entries": f"{number(header.entries)} of {number(done.tree_size)}",
            "mandates": number(done.mandates),
        }
    )
    if done.missing_mandates:
        tell(f"{len(done.missing_mandates)} mandates are not kept here; the exchanges lack them.")


def _unreadable(fault: str) -> InputError:
    return InputError(fault, mend="See `psishare audit export --help`.", reason="scope_malformed")
