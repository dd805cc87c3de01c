"""What has been spent: the budget's state as a decision sees it, and the rules that hold it in bounds.

Source: protocols/specs/mandate.md, section 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare.mandates.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.mandates.mandate import Mandate
    from psishare.mandates.policy import Policy


@dataclass(frozen=True, slots=True)
class Usage:
    """Rows and exchanges that are reserved or charged."""

    rows: int = 0
    exchanges: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What is reserved or charged, without what is asked for now.

    Attributes:
        mandate: under the mandate, ever.
        day: on the platform's day, by everyone.
        authority: on that day, by the authority.
        kind: on that day, about the kind.
    """

    mandate: Usage = Usage()
    day: Usage = Usage()
    authority: Usage = Usage()
    kind: Usage = Usage()


def budget_rules(policy: Policy, mandate: Mandate, spent: Spent, rows: int) -> Iterator[Rule]:
    """Yield every rule on what an exchange of so many rows leaves of a budget.

    The mandate's caps come first, then the policy's, each on rows and on exchanges.
    """
    yield _rows("budget_rows_exhausted", "the mandate", mandate.max_rows_total, spent.mandate, rows)
    yield _one("budget_exchanges_exhausted", "the mandate", mandate.max_exchanges, spent.mandate)
    if (cap := policy.max_rows_per_mandate) is not None:
        what = "the policy for one mandate"
        yield _rows("budget_mandate_rows", what, cap, spent.mandate, rows)
    if (cap := policy.max_exchanges_per_mandate) is not None:
        what = "the policy for one mandate"
        yield _one("budget_mandate_exchanges", what, cap, spent.mandate)
    yield from _daily_rows(policy, spent, rows)
    yield from _daily_exchanges(policy, spent)


def _daily_rows(policy: Policy, spent: Spent, rows: int) -> Iterator[Rule]:
    daily = policy.per_day
    if (cap := daily.rows) is not None:
        yield _rows("budget_day_rows", "the policy for one day", cap, spent.day, rows)
    if (cap := daily.rows_per_authority) is not None:
        what = "the policy for one authority and day"
        yield _rows("budget_authority_rows", what, cap, spent.authority, rows)
    if (cap := daily.rows_per_kind) is not None:
        what = "the policy for one kind and day"
        yield _rows("budget_kind_rows", what, cap, spent.kind, rows)


def _daily_exchanges(policy: Policy, spent: Spent) -> Iterator[Rule]:
    daily = policy.per_day
    if (cap := daily.exchanges) is not None:
        yield _one("budget_day_exchanges", "the policy for one day", cap, spent.day)
    if (cap := daily.exchanges_per_authority) is not None:
        what = "the policy for one authority and day"
        yield _one("budget_authority_exchanges", what, cap, spent.authority)
    if (cap := daily.exchanges_per_kind) is not None:
        what = "the policy for one kind and day"
        yield _one("budget_kind_exchanges", what, cap, spent.kind)


def _rows(reason: str, what: str, cap: int, used: Usage, rows: int) -> Rule:
    left = max(0, cap - used.rows)
    return Rule(
        rows <= left,
        reason,
        f"{rows:,} rows are asked for; of the {cap:,} rows of {what}, {left:,} are left",
    )


def _one(reason: str, what: str, cap: int, used: Usage) -> Rule:
    return Rule(
        used.exchanges < cap,
        reason,
        f"{used.exchanges:,} of the {cap:,} exchanges of {what} have been opened",
    )
