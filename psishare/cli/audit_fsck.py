"""``psishare audit fsck``: every file of a log derived again, for whoever has to mend a disk."""

from pathlib import Path
from typing import Annotated, Any

import typer

from psishare.audit.fsck import FolderReport, check_log_folder
from psishare.cli.console import number, print_json, say, say_table
from psishare.cli.option import Json
from psishare.cli.trust import Trust, read_cards
from psishare.errors import ExitCode
from psishare.evidence.verify import log_owner

EXAMPLE = "psishare audit fsck tele/log --trust tele.card"


def fsck(
    folder: Annotated[Path, typer.Argument(metavar="LOGDIR", help="A log's folder, or a copy.")],
    *,
    trust: Trust,
    as_json: Json = False,
) -> None:
    """Derive a log's folder again from its entries, and name every file that differs.

    Every bundle, tile, checkpoint and signature is looked at; where a file differs, its first byte
    that does is named. Ends with exit code 0 if nothing differs, 8 if anything does.
    """
    cards = read_cards(trust)
    owner = log_owner(folder, cards)
    cosigners = [key for card in cards.values() if card != owner for key in card.cosigner_keys()]
    report = check_log_folder(folder, owner.checkpoint_verifiers, cosigner_keys=cosigners)
    if as_json:
        print_json(_document(owner.id, report))
    else:
        _say(owner.id, report)
    if report.faults:
        raise typer.Exit(int(ExitCode.AUDIT))


def _document(party: str, report: FolderReport) -> dict[str, Any]:
    return {
        "party": party,
        "sound": not report.faults,
        "tree_size": report.verdict.head.tree_size if report.verdict else None,
        "unfinished": list(report.verdict.unfinished) if report.verdict else None,
        "faults": [
            {"path": fault.path, "byte": fault.byte, "finding": fault.finding}
            for fault in report.faults
        ],
    }


def _say(party: str, report: FolderReport) -> None:
    if report.verdict is not None:
        size = number(report.verdict.head.tree_size)
        say(
            f"The log of {party} is sound: {size} entries, each byte as they give it.",
            style="green",
        )
        return
    rows = [
        (fault.path, "" if fault.byte is None else number(fault.byte), fault.finding)
        for fault in report.faults
    ]
    say_table(("file", "#byte", "finding"), rows)
    say()
    say(
        f"The log of {party} is damaged. Keep this copy, and restore one that is sound.",
        style="red",
    )
