"""What ``psishare match --dry-run`` prints: who would learn what, and what the mandate allows."""

from typing import TYPE_CHECKING, Any

import typer

from psishare.cli.console import moment, number, print_json, say, say_fields
from psishare.cli.rule_table import rules_document, say_rules
from psishare.errors import ExitCode
from psishare.parties.field import write_time

if TYPE_CHECKING:
    import psishare


def show_dry_run(found: "psishare.DryRun", platform: str, *, as_json: bool) -> None:
    """Print what a match would be; end with exit code 5 where the mandate does not allow it."""
    if as_json:
        print_json(_document(found, platform))
    else:
        _show(found, platform)
    if not found.allowed:
        raise typer.Exit(ExitCode.REFUSED)


def _document(found: "psishare.DryRun", platform: str) -> dict[str, Any]:
    mandate, quality = found.mandate, found.quality
    return {
        "dry_run": True,
        "platform": platform,
        "rows": quality.rows,
        "rejected": quality.rejected,
        "distinct": quality.distinct,
        "authority_learns": found.authority_learns,
        "platform_learns": found.platform_learns,
        "mandate": {
            "id": mandate.id,
            "verified": found.verified,
            "max_rows_per_exchange": mandate.max_rows_per_exchange,
            "max_rows_total": mandate.max_rows_total,
            "max_exchanges": mandate.max_exchanges,
            "not_after": write_time(mandate.not_after),
        },
        "list_approved": found.list_approved,
        "allowed": found.allowed,
        "rules": rules_document(found.rules),
    }


def _show(found: "psishare.DryRun", platform: str) -> None:
    mandate, quality = found.mandate, found.quality
    say("Nothing has been asked, logged or spent.")
    say()
    say_fields(
        {
            "rows": number(quality.rows),
            "rejected": number(sum(quality.rejected.values())),
            "would be asked": f"{number(quality.distinct)} distinct identifiers",
            "you would learn": found.authority_learns,
            f"{platform} would learn": found.platform_learns,
            "both logs": "who asked whom, when, how many, under which mandate, and how it ended",
            "mandate": f"{mandate.id}, until {moment(write_time(mandate.not_after))} UTC",
            "its signatures": _signatures(found),
            "its list": _list(found),
            "it allows": f"{number(mandate.max_rows_per_exchange)} rows an exchange,"
            f" {number(mandate.max_rows_total)} rows and {number(mandate.max_exchanges)}"
            " exchanges in all",
        }
    )
    say()
    say_rules(found.rules)
    say()
    if found.allowed:
        say(f"The mandate allows it. {platform} has rules and a budget of its own besides.")
    else:
        say("The mandate does not allow it.")


def _list(found: "psishare.DryRun") -> str | None:
    if found.list_approved is None:
        return None
    return "this one" if found.list_approved else "another one: this one may not be asked"


def _signatures(found: "psishare.DryRun") -> str:
    if found.verified is None:
        return "not verified: issuer and validator are not both pinned and trusted as such here"
    return "good" if found.verified else "not good"
