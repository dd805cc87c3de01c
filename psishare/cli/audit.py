"""``psishare audit``: what an auditor runs, with public cards alone."""

from pathlib import Path
from typing import Annotated, Any

import typer

from psishare.cli import audit_fsck
from psishare.cli.console import moment, number, print_json, say, say_fields, say_table, short
from psishare.cli.group import example, new_group
from psishare.cli.option import Json
from psishare.cli.trust import Trust, read_cards
from psishare.evidence.verify import ExchangeVerdict, Verdict, verify_log
from psishare.parties.card import Card

EXAMPLE = "psishare audit verify tele/log --trust tele.card --trust police.card"

app = new_group("Verify audit logs, offline, with public cards alone.", EXAMPLE)
app.command(epilog=example(audit_fsck.EXAMPLE))(audit_fsck.fsck)


@app.command(epilog=example(EXAMPLE))
def verify(
    folder: Annotated[Path, typer.Argument(metavar="LOGDIR", help="A log's folder, or a copy.")],
    *,
    trust: Trust,
    as_json: Json = False,
) -> None:
    """Verify a log, and every exchange in it.

    Every entry, tile, root, checkpoint and signature is checked again, with no key but those in the
    cards that you give. Ends with exit code 0 if all of it verifies, 8 if not, 3 if a card lacks.
    """
    cards = read_cards(trust)
    verdict = verify_log(folder, cards)
    if as_json:
        print_json(_document(verdict, cards))
        return
    _say(verdict, cards)


def _document(verdict: Verdict, cards: dict[str, Card]) -> dict[str, Any]:
    log = verdict.log
    return {
        "verified": True,
        "party": verdict.party,
        "tree_size": log.head.tree_size,
        "root_hash": log.head.root_hash.hex(),
        "checkpoints": log.n_checkpoints,
        "entries": log.entries_by_type,
        "first_time": log.first_time,
        "last_time": log.last_time,
        "cosigned": log.cosigners,
        "unfinished": list(log.unfinished),
        "trusted": {party: card.fingerprint() for party, card in sorted(cards.items())},
        "exchanges": [_exchange(exchange) for exchange in verdict.exchanges],
    }


def _exchange(exchange: ExchangeVerdict) -> dict[str, Any]:
    return {
        "exchange_id": exchange.exchange_id,
        "peer": exchange.peer,
        "ending": exchange.ending.value,
        "protocol": exchange.protocol,
        "dataset": exchange.dataset,
        "kind": exchange.kind,
        "output": exchange.output,
        "rows": exchange.rows,
        "mandate_id": exchange.mandate_id,
        "reason": exchange.reason,
        "time": exchange.time,
    }


def _say(verdict: Verdict, cards: dict[str, Card]) -> None:
    log = verdict.log
    cosigned = [f"{party} up to {number(size)}" for party, size in log.cosigners.items() if size]
    say_fields(
        {
            "log of": verdict.party,
            "entries": f"{number(log.head.tree_size)}, from {log.first_time} to {log.last_time}",
            "root": log.head.root_hash.hex(),
            "checkpoints": number(log.n_checkpoints),
            "cosigned by": ", ".join(cosigned) or "nobody that you trust",
            "unfinished": ", ".join(log.unfinished) or None,
            "trusted": ", ".join(sorted(cards)),
        }
    )
    if verdict.exchanges:
        say()
        say_table(
            ("exchange", "with", "of", "#rows", "ended", "at (UTC)"),
            [_row(exchange) for exchange in verdict.exchanges],
        )
    say()
    say(f"The log of {verdict.party} verifies.", style="green")


def _row(exchange: ExchangeVerdict) -> tuple[str, ...]:
    reason = f": {exchange.reason}" if exchange.reason else ""
    return (
        short(exchange.exchange_id),
        exchange.peer,
        exchange.dataset or "",
        "" if exchange.rows is None else number(exchange.rows),
        f"{exchange.ending}{reason}",
        moment(exchange.time),
    )
