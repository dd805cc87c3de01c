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
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from psishare.errors import PsishareError

WIDE = 1_000
"""Columns where nobody watches: a pipe gets lines that are never folded."""


def print_json(document: Mapping[str, Any]) -> None:
    """Print the one object of ``--json``: indented on a terminal, one line elsewhere."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(document, indent=indent) + "\n")
    sys.stdout.flush()


def print_json_list(document: Mapping[str, Any], name: str, items: Iterable[Any]) -> None:
    """Print the one object of ``--json`` with a list as its last member, item by item as they come.

    Args:
        document: the members before it.
        name: the list's.
        items: any number; they are not held in memory.
    """
    indent = 2 if sys.stdout.isatty() else None
    line, between = ("\n    ", ",") if indent else ("", ", ")
    before, _, after = json.dumps({**document, name: []}, indent=indent).rpartition("]")
    sys.stdout.write(before)
    n_items = 0
    for n_items, item in enumerate(items, 1):
        text = json.dumps(item, indent=indent).replace("\n", line)
        sys.stdout.write(f"{between if n_items > 1 else ''}{line}{text}")
    closing = "\n  ]" if indent and n_items else "]"
    sys.stdout.write(f"{closing}{after}\n")
    sys.stdout.flush()


def say(text: str = "", *, style: str | None = None) -> None:
    """Print a line on standard output."""
    _print(Text(text, style=style or "", no_wrap=True, overflow="ignore"))


def tell(text: str) -> None:
    """Print a line on standard error."""
    _print(Text(text, no_wrap=True, overflow="ignore"), error=True)


def tell_warnings(warnings: Iterable[str]) -> None:
    """Print what should be done soon on standard error, a line each."""
    for warning in warnings:
        tell(f"warning: {warning}")


def say_fields(fields: Mapping[str, str | None], *, error: bool = False) -> None:
    """Print names and values, aligned; those without a value are left out.

    Args:
        fields: the names and values.
        error: on standard error.
    """
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in fields.items():
        if value is not None:
            grid.add_row(name, Text(value))
    _print(grid, error=error)


def say_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; a header that begins with ``#`` is of a column of numbers."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
    for header in headers:
        numeric = header.startswith("#")
        table.add_column(
            header.removeprefix("#"),
            justify="right" if numeric else "left",
            overflow="fold",
            # What is copied, or compared by eye, stays in one piece.
            no_wrap=numeric or header == "exchange" or header.endswith("(UTC)"),
        )
    for row in rows:
        table.add_row(*map(Text, row))
    _print(table)


def say_long_table(headers: Sequence[str], rows: Callable[[], Iterable[Sequence[str]]]) -> None:
    """Print a table line by line, as ``say_table`` would in a pipe, without holding its rows in memory.

    Args:
        headers: as in ``say_table``.
        rows: gives the rows; called twice, for the columns' widths and for the lines.
    """
    names = [header.removeprefix("#") for header in headers]
    widths = [len(name) for name in names]
    for row in rows():
        widths = [max(width, len(cell)) for width, cell in zip(widths, row, strict=True)]
    right = [header.startswith("#") for header in headers]

    def line(cells: Sequence[str]) -> str:
        placed = zip(cells, widths, right, strict=True)
        text = "  ".join(c.rjust(width) if r else c.ljust(width) for c, width, r in placed)
        return f"{text.rstrip()}\n"

    sys.stdout.write(line(names))
    sys.stdout.write("─" * (sum(widths) + 2 * len(widths) - 1) + "\n")
    for row in rows():
        sys.stdout.write(line(row))
    sys.stdout.flush()


def _print(what: RenderableType, *, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    console = Console(file=stream, highlight=False)
    if console.is_terminal:
        console.print(what, crop=False)
    else:
        console.width = WIDE
        with console.capture() as captured:
            console.print(what, crop=False)
        stream.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    stream.flush()


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


def short(hexadecimal: str) -> str:
    """Return the beginning of an id, enough for a person to tell it from others."""
    return hexadecimal[:12]


def moment(time: str) -> str:
    """Return a document's time as people read it in a table: to the minute, in UTC."""
    return time[:16].replace("T", " ")
