"""What is said of a period in which nothing may have happened."""

from psishare.cli.console import number
from psishare.evidence.silence import Silence


def told_silence(silence: Silence) -> str:
    """Return a sentence part: whether nothing happened, and how far the log vouches for it."""
    told = "no exchange and no delivery" if silence.silent else "not silent"
    if silence.vouched_from is None or silence.vouched_until is None:
        return f"{told}, but the log vouches for no moment of the period"
    gap = f"at most {number(silence.longest_gap_s or 0)} s without an entry"
    return f"{told}, vouched for from {silence.vouched_from} to {silence.vouched_until}, {gap}"
