"""What a decision looks at besides the platform's policy and its budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from psishare.mandates.check import Request
    from psishare.mandates.mandate import Mandate
    from psishare.mandates.rule import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An exchange that is asked for, and under what.

    Attributes:
        mandate: verified.
        validated: whether its validator has signed it; an emergency's may come to do so later.
        request: who asks whom about what.
        dataset_rows: distinct identifiers in the platform's dataset; None where it is not known.
        epoch_began: when the dataset's epoch began, with a time zone; None for a list that is not encoded.
        approved: whether a second operator has approved exactly this offer.
        known: what has become known of the mandate since it was signed, as rules; they come after its own.
    """

    mandate: Mandate
    validated: bool = True
    request: Request
    dataset_rows: int | None
    epoch_began: datetime | None = None
    approved: bool = False
    known: tuple[Rule, ...] = ()

    @property
    def is_emergency(self) -> bool:
        """Whether the mandate is an emergency's that no validator has signed yet."""
        return self.mandate.emergency is not None and not self.validated
