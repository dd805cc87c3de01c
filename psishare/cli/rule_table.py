"""The rules of a decision, as a person reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.cli.console import say_table
from psishare.exchange.reasons import sentence_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psishare.mandates.rule import Rule


def rules_document(rules: Iterable[Rule]) -> list[dict[str, object]]:
    """Return the rules as they stand in JSON."""
    return [
        {
            "reason": rule.reason,
            "passes": rule.passes,
            "sentence": None if rule.passes else rule.message,
        }
        for rule in rules
    ]


def say_rules(rules: Iterable[Rule]) -> None:
    """Print each rule, in the order in which they are looked at, and what was found."""
    say_table(
        ("", "rule", "refuses where", "found"),
        [
            (
                "ok" if rule.passes else "NO",
                rule.reason,
                sentence_of(rule.reason),
                "" if rule.passes else rule.message,
            )
            for rule in rules
        ],
    )
