"""Reserving from a budget as a platform does, without the rest of a platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mandate_examples import NOW

from psishare.mandates.budget import Claim
from psishare.mandates.decision import Decision, Verdict
from psishare.mandates.policy import Policy
from psishare.mandates.spent import Spent, budget_rules

if TYPE_CHECKING:
    from datetime import datetime

    from psishare.mandates.budget import Budget
    from psishare.mandates.mandate import Mandate

ANY = Policy()


def reserve(
    budget: Budget,
    exchange_id: bytes,
    mandate: Mandate,
    rows: int,
    *,
    policy: Policy = ANY,
    at: datetime = NOW,
    authority: str | None = None,
    kind: str = "phone",
) -> None:
    """Reserve rows by the rules of the budget alone, or raise the refusal."""
    claim = Claim(
        exchange_id=exchange_id,
        mandate_id=mandate.id,
        authority=authority or mandate.authority,
        kind=kind,
        rows=rows,
        opened_at=at,
        day=policy.day(at),
    )

    def judge(spent: Spent) -> Decision:
        return Decision(tuple(budget_rules(policy, mandate, spent, rows)), ())

    decision = budget.reserve(claim, judge)
    if decision.verdict is not Verdict.ALLOW:
        raise decision.refusal()
