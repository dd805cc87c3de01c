"""The decision on what is asked: allow, hold or refuse, with the rule and a sentence.

A pure, total function of documents, budget and time: the same input always gives the same decision,
and every input gives one. Rules are looked at in the order of protocols/specs/mandate.md, sections 6 to
8: the mandate's, the policy's, the budget's, then whether a second operator has to approve.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from psishare.errors import AuthorisationError, InternalError
from psishare.mandates.check import mandate_rules
from psishare.mandates.policy_rule import approval_rules, policy_rules
from psishare.mandates.spent import Spent, budget_rules

if TYPE_CHECKING:
    from datetime import datetime

    from psishare.mandates.asked import Asked
    from psishare.mandates.policy import Policy
    from psishare.mandates.rule import Rule


class Verdict(StrEnum):
    """What becomes of an offer."""

    ALLOW = "allow"
    HOLD = "hold"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of an offer, and every rule that was looked at on the way.

    Attributes:
        refusing: the rules that refuse where they do not pass.
        holding: the rules that hold where they do not pass.
    """

    refusing: tuple[Rule, ...]
    holding: tuple[Rule, ...]

    @property
    def verdict(self) -> Verdict:
        """Refuse where a rule does not pass, else hold where one wants an approval, else allow."""
        if not all(rule.passes for rule in self.refusing):
            return Verdict.REFUSE
        return Verdict.ALLOW if all(rule.passes for rule in self.holding) else Verdict.HOLD

    @property
    def rule(self) -> Rule | None:
        """The first rule that does not pass, which decides; None where all pass."""
        every = (*self.refusing, *self.holding)
        return next((rule for rule in every if not rule.passes), None)

    def refusal(self) -> AuthorisationError:
        """Return the error of what is refused or held.

        Raises:
            InternalError: it is allowed.
        """
        rule = self.rule
        if rule is None:
            raise InternalError("what is allowed was to be refused", mend="Report this fault.")
        return AuthorisationError(
            rule.message,
            mend="Ask for what mandate and policy allow, or ask who can change them.",
            reason=rule.reason,
        )


def decide(policy: Policy, asked: Asked, spent: Spent, now: datetime) -> Decision:
    """Decide on an exchange that is asked for.

    Args:
        policy: the platform's.
        asked: what is asked for, under which verified mandate.
        spent: what is reserved or charged already, of the day that ``policy.day(now)`` gives.
        now: the platform's clock, with a time zone.
    """
    mandate, request = asked.mandate, asked.request
    return Decision(
        refusing=(
            *mandate_rules(mandate, request, now=now, clock_tolerance_s=policy.clock_tolerance_s),
            *asked.known,
            *policy_rules(policy, asked, now),
            *budget_rules(policy, mandate, spent, request.rows),
        ),
        holding=tuple(approval_rules(policy, asked)),
    )
