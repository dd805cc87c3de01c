"""Progress on a terminal: every bar ends whole, and none is left where a step broke off."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

import pytest

from psishare.cli.progress import shown


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        return True


def last_frame(terminal: Terminal) -> str:
    return terminal.getvalue().rsplit("\x1b[2K", 1)[-1]


def test_a_step_that_had_less_to_do_than_there_were_rows_ends_whole() -> None:
    terminal = Terminal()
    with redirect_stderr(terminal), shown(quiet=False) as report:
        assert report is not None
        report("reading", 240, 0)
        report("evaluating", 144, 240)
    assert "evaluating" in last_frame(terminal)
    assert "144/144" in last_frame(terminal)
    assert "✓" in last_frame(terminal)


def break_off(terminal: Terminal) -> None:
    with redirect_stderr(terminal), shown(quiet=False) as report:
        assert report is not None
        report("asking", 3, 10)
        raise RuntimeError


def test_a_step_that_broke_off_leaves_no_bar() -> None:
    terminal = Terminal()
    with pytest.raises(RuntimeError):
        break_off(terminal)
    assert "asking" not in last_frame(terminal)


def test_nobody_watches_a_pipe() -> None:
    with shown(quiet=True) as report:
        assert report is None
