"""What long steps report as they advance."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with a step's name, what is done of it, and its total (0: unknown)."""


def quiet(_step: str, _done: int, _total: int) -> None:
    """Report nothing."""


def advanced(report: Progress, step: str, total: int) -> Callable[[int], None]:
    """Return what adds up the items done in a step, and reports them."""
    done = 0

    def add(items: int) -> None:
        nonlocal done
        done += items
        report(step, done, total)

    return add


def rows_read(report: Progress) -> Callable[[int], None]:
    """Return what counts rows as they are read, their total being unknown."""
    return advanced(report, "reading", 0)
