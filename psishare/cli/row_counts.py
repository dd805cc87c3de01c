"""How commands tell what the rows of a list came to: counts and reasons, never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psishare.cli.console import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psishare

NO_COUNTRY = "no_country"
REGION_NEEDED = "numbers without a country code need --region, such as --region DE"
SHOWN_ROWS = 5


def rejected_text(
    rejected: Mapping[str, int], first_rejects: Sequence[tuple[int, str]] = ()
) -> str:
    """Return how many rows were rejected, why, and where the first of them are.

    Args:
        rejected: rows rejected, by reason code.
        first_rejects: row numbers, from 0, with their reason codes.
    """
    if not rejected:
        return "0"
    total = number(sum(rejected.values()))
    text = f"{total}: {_reasons(rejected)}"
    if first_rejects:
        first = ", ".join(number(row) for row, _reason in first_rejects[:SHOWN_ROWS])
        text += f"; first at rows {first} (from 0)"
    return f"{text}; {REGION_NEEDED}" if NO_COUNTRY in rejected else text


def list_warning(name: str, counts: psishare.RowCounts) -> str | None:
    """Return what is to be said of a list of which rows are left out, or None where none is."""
    if not counts.rejected:
        return None
    text = rejected_text(counts.rejected)
    return f"warning: of the {number(counts.rows)} rows of the list {name} are rejected {text}"


def rows_document(counts: psishare.RowCounts) -> dict[str, Any]:
    """Return what ``--json`` says of a list's rows."""
    first = [{"row": row, "reason": reason} for row, reason in counts.first_rejects]
    return {"rows": counts.rows, "rejected": counts.rejected, "first_rejects": first}


def _reasons(rejected: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {number(n)}" for reason, n in sorted(rejected.items()))
