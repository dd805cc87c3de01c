"""Verify the logs of a platform and an authority, and compare what they tell of each exchange.

    python audit.py --trust tele.card --trust police.card tele-log police-log

Offline, with public cards alone. Ends with exit code 0 if both logs verify and agree, 8 if not.
What both hold is what can be relied on: a log by itself cannot show that its newest entries were
cut off, but the other party's log does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Compiled code is not needed here, and nobody who verifies has to trust it: it cannot be loaded.
NOT_NEEDED = ("psishare._native", "pyarrow", "grpc")
sys.modules.update(dict.fromkeys(NOT_NEEDED))  # type: ignore[arg-type]

from psishare.errors import ExitCode, PsishareError  # noqa: E402  after the block
from psishare.evidence.verify import ExchangeVerdict, Verdict, verify_log  # noqa: E402
from psishare.parties.card import Card, parse_card  # noqa: E402


def main() -> int:
    """Verify both logs and compare them."""
    parser = argparse.ArgumentParser(description="Verify two parties' logs and compare them.")
    parser.add_argument("--trust", type=Path, action="append", required=True, metavar="CARD")
    parser.add_argument("logs", type=Path, nargs=2, metavar="LOGDIR")
    arguments = parser.parse_args()
    try:
        cards = {card.id: card for card in map(read_card, arguments.trust)}
        first, second = (verify(log, cards) for log in arguments.logs)
    except PsishareError as error:
        print(error.diagnostics())
        return error.exit_code
    faults = differences(first, second)
    for fault in faults:
        print(fault)
    if faults:
        return ExitCode.AUDIT
    print("Both logs verify, and tell the same of every exchange.")
    return ExitCode.OK


def read_card(path: Path) -> Card:
    """Read a card whose fingerprint the auditor has compared."""
    return parse_card(path.read_bytes())


def verify(log: Path, cards: dict[str, Card]) -> Verdict:
    """Verify one log, and say what it holds."""
    verdict = verify_log(log, cards)
    print(f"{verdict.party}: {verdict.log.head.tree_size} entries verify")
    for exchange in verdict.exchanges:
        print(f"  {short(exchange)} with {exchange.peer}: {exchange.rows} rows, {exchange.ending}")
    return verdict


def differences(first: Verdict, second: Verdict) -> list[str]:
    """Return, for each exchange that the two do not tell alike, how they differ."""
    sides = [
        {
            exchange.exchange_id: exchange
            for exchange in verdict.exchanges
            if exchange.peer == other.party
        }
        for verdict, other in ((first, second), (second, first))
    ]
    faults = []
    for exchange_id in sorted(set(sides[0]) | set(sides[1])):
        told = [side.get(exchange_id) for side in sides]
        if told[0] is None or told[1] is None:
            silent = first if told[0] is None else second
            faults.append(f"{exchange_id[:12]}: the log of {silent.party} does not hold it")
        elif story(told[0]) != story(told[1]):
            faults.append(
                f"{exchange_id[:12]}: told differently: {story(told[0])}, {story(told[1])}"
            )
    return faults


def story(exchange: ExchangeVerdict) -> tuple[object, ...]:
    """Return what both sides must tell alike; each has its own time of entry."""
    return (
        exchange.ending.value,
        exchange.protocol,
        exchange.dataset,
        exchange.rows,
        exchange.mandate_id,
    )


def short(exchange: ExchangeVerdict) -> str:
    """Return the beginning of an exchange's id."""
    return exchange.exchange_id[:12]


if __name__ == "__main__":
    sys.exit(main())
