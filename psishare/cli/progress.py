"""The progress of long steps: a line on standard error with rate and time left, on a terminal only."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Report = Callable[[str, int, int], None]
    """A step's name, how many items of it are done, and how many there are; 0 where unknown."""


class _Items(ProgressColumn):
    """Items done, of how many, and how many a second."""

    def render(self, task: Task) -> Text:
        """Return the column's text."""
        done = f"{task.completed:,.0f}"
        total = f"/{task.total:,.0f}" if task.total else ""
        seconds = task.finished_time or task.elapsed
        rate = f"  {task.completed / seconds:,.0f}/s" if seconds else ""
        return Text(f"{done}{total}{rate}")


@contextmanager
def shown(*, quiet: bool) -> Iterator[Report | None]:
    """Show the steps that are reported, as long as the ``with`` block lasts.

    Args:
        quiet: show nothing, as with ``--json``.

    Yields:
        What to call as steps advance; None where nobody watches.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    bars = Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        _Items(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=Console(stderr=True),
    )
    tasks: dict[str, TaskID] = {}

    def finish(over: Iterable[Task]) -> None:
        for task in over:
            bars.update(task.id, total=task.completed)

    def report(step: str, done: int, total: int) -> None:
        if step not in tasks:
            # A step whose length was not known is over when the next one begins.
            finish(task for task in bars.tasks if task.total is None)
            tasks[step] = bars.add_task(step, total=total or None)
        bars.update(tasks[step], completed=done)

    with bars:
        try:
            yield report
        except BaseException:
            # What broke off is told of by the error, not by a bar that stands still.
            for task in tuple(bars.tasks):
                if not task.finished:
                    bars.remove_task(task.id)
            raise
        # Of rows, those that hold no identifier are not worked on: what was done is all there was.
        finish(task for task in bars.tasks if not task.finished)
