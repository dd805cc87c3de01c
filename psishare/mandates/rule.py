"""One rule held against what is asked: whether it passes, its reason code and a sentence.

Mandates (``check``), the platform's policy and the budget are all read as sequences of rules, so that
one decision can be explained rule by rule.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """A rule that was looked at.

    Attributes:
        passes: whether what is asked keeps it.
        reason: its reason code, which is also its id.
        message: what is wrong where it does not pass, one sentence for an operator.
    """

    passes: bool
    reason: str
    message: str
