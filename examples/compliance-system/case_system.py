"""A case-management system that asks a platform through psishare.

It keeps the suspects of a case in Arrow columns of its own, asks, and files what comes back: the
matching rows with the id of the exchange, or the reason for which it was refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import psishare
from psishare.errors import AuthorisationError

if TYPE_CHECKING:
    from pathlib import Path

# What an officer can do about a refusal. Reason codes are stable; docs/reasons.md lists them all.
ADVICE = {
    "mandate_expired": "Ask the prosecutor for a new mandate.",
    "mandate_over_rows": "Shorten the list, or ask for a mandate with a higher cap.",
    "budget_exchanges_exhausted": "This mandate is used up. Ask the prosecutor for a new one.",
}


@dataclass(frozen=True)
class CaseList:
    """The suspects of a case, as this system holds them.

    psishare takes it as it is, since it speaks the Arrow PyCapsule interface; so do the frames of
    pandas, polars and DuckDB.

    Attributes:
        refs: this system's row ids, ``string``, shape ``(n,)``.
        phones: as officers typed them, ``string``, shape ``(n,)``.
    """

    refs: pa.Array
    phones: pa.Array

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hand the columns to whoever reads Arrow."""
        table = pa.table({"ref": self.refs, "phone": self.phones})
        return table.__arrow_c_stream__(requested_schema)


@dataclass(frozen=True)
class Finding:
    """What an exchange gave.

    Attributes:
        case: this system's case.
        refs: the row ids that matched, in the order of the list.
        asked: how many distinct numbers were asked.
        exchange_id: under which both parties' logs have it.
    """

    case: str
    refs: tuple[str, ...]
    asked: int
    exchange_id: str


@dataclass(frozen=True)
class Refusal:
    """Why an exchange did not take place.

    Attributes:
        case: this system's case.
        reason: the reason code.
        refused_by: the party that refused.
        advice: what the officer can do.
    """

    case: str
    reason: str
    refused_by: str | None
    advice: str


@dataclass
class CaseSystem:
    """The cases of one authority.

    Attributes:
        home: the authority's home folder.
        platform: the platform's party id.
        address: where it listens.
        file: what was found and what was refused, in order.
    """

    home: Path
    platform: str
    address: str
    file: list[Finding | Refusal] = field(default_factory=list)

    def ask(self, case: str, suspects: Any, mandate: bytes) -> Finding | Refusal:
        """Ask which suspects are customers of the platform, and file the answer.

        Args:
            case: this system's case.
            suspects: a table with columns ``ref`` and ``phone``; anything that speaks Arrow.
            mandate: the signed mandate's bytes.

        Raises:
            PsishareError: anything but a refusal: a file, the peer or the log is at fault.
        """
        key = psishare.KeyColumn.parse("phone=phone", region="GB")
        with (
            psishare.Party.open(self.home) as party,
            party.connect(self.platform, self.address, timeout_s=30) as session,
        ):
            try:
                match = session.match(suspects, key=key, dataset="customers", mandate=mandate)
            except AuthorisationError as error:
                advice = ADVICE.get(error.reason, error.mend)
                refusal = Refusal(case, error.reason, error.party, advice)
                self.file.append(refusal)
                return refusal
        refs = tuple(match.matches.column("ref").to_pylist())
        finding = Finding(case, refs, match.receipt.receipt.requests.rows, match.exchange_id)
        self.file.append(finding)
        return finding
