"""What a command prints: text for people, or with ``--json`` one object on standard output.

Text from elsewhere is never read as markup. Errors go to standard error; with ``--json`` they are the
one object on standard output, so that a caller reads one place.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from psishare.errors import PsishareError

_OUT = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
_GRID = Console(markup=False, highlight=False, emoji=False)
_ERR_GRID = Console(stderr=True, markup=False, highlight=False, emoji=False)
_ERR = Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def print_json(document: Mapping[str, Any]) -> None:
    """Print the one object of ``--json``: indented on a terminal, one line elsewhere."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(document, indent=indent) + "\n")
    sys.stdout.flush()


def say(text: str = "", *, style: str | None = None) -> None:
    """Print a line on standard output."""
    _OUT.print(text, style=style)


def tell(text: str, *, style: str | None = None) -> None:
    """Print a line on standard error."""
    _ERR.print(text, style=style)


def say_fields(fields: Mapping[str, str | None]) -> None:
    """Print names and values, aligned, on standard output; those without a value are left out."""
    _GRID.print(_grid(fields))


def tell_fields(fields: Mapping[str, str | None]) -> None:
    """Print names and values, aligned, on standard error; those without a value are left out."""
    _ERR_GRID.print(_grid(fields))


def say_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; a header that begins with ``#`` is of a column of numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for header in headers:
        numeric = header.startswith("#")
        table.add_column(
            header.removeprefix("#"), justify="right" if numeric else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*row)
    _GRID.print(table)


def print_error(error: PsishareError, *, as_json: bool) -> None:
    """Print an error: what is wrong, who is at fault, what to do about it."""
    if not as_json:
        tell(f"error: {error.diagnostics()}")
        return
    print_fault(
        message=error.message,
        mend=error.mend,
        reason=error.reason,
        party=error.party,
        exit_code=int(error.exit_code),
    )


def print_fault(*, message: str, mend: str, reason: str, party: str | None, exit_code: int) -> None:
    """Print the JSON object of an error."""
    print_json(
        {
            "error": {
                "message": message,
                "reason": reason,
                "party": party,
                "mend": mend,
                "exit_code": exit_code,
            }
        }
    )


def number(value: int) -> str:
    """Return a number as people read it."""
    return f"{value:,}"


def _grid(fields: Mapping[str, str | None]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in fields.items():
        if value is not None:
            grid.add_row(name, value)
    return grid


def short(hexadecimal: str) -> str:
    """Return the beginning of an id, enough for a person to tell it from others."""
    return hexadecimal[:12]
