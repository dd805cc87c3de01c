"""What a person sees on a terminal that is narrow."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from psishare.cli.console import say_table

if TYPE_CHECKING:
    import pytest


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        return True


def test_an_exchange_can_be_copied_from_a_narrow_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    headers = ("exchange", "with", "of", "#rows", "ended", "mandate", "at (UTC)")
    ended = "refused: budget_exchanges_exhausted"
    row = (
        "df1c97ab66be",
        "police.example",
        "customers",
        "3",
        ended,
        "not seen",
        "2026-11-25 01:49",
    )
    with redirect_stdout(terminal):
        say_table(headers, [row])
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("df1c97ab66be ") for line in lines)
