"""The demo's lists: synthetic phone numbers of several countries, spelled as people spell them.

The same size always gives the same lists. Which rows match is known from how they were made, without
any of the code that is to find it out.
"""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

REGION = "DE"
SUSPECTS_PER_CUSTOMER = 10
SHARED = 0.2
"""The part of the suspects' numbers that belong to customers."""
REPEATED = 0.05
"""The part of rows that repeat an earlier number, in a spelling of their own."""
UNUSABLE = 0.01
"""The part of rows that hold no number."""

_PLANS = (
    ("49", "151", 8),
    ("49", "170", 7),
    ("33", "6", 8),
    ("44", "7", 9),
    ("1", "212", 7),
    ("91", "98", 8),
    ("254", "7", 8),
    ("81", "90", 8),
    ("55", "119", 8),
)
"""Country code, leading digits, and how many digits follow."""

_NO_NUMBERS = ("", "unknown", "not given", "+1 23", "see file")


@dataclass(frozen=True, slots=True)
class Lists:
    """The two files and the truth about them.

    Attributes:
        customers: the platform's file, columns customer, number, since.
        suspects: the authority's file, columns ref, phone, source.
        n_customers: rows of the first.
        n_suspects: rows of the second.
        matching: the refs of the suspects' rows whose number is a customer's, in their order.
    """

    customers: Path
    suspects: Path
    n_customers: int
    n_suspects: int
    matching: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Number:
    country: str
    national: str


def write_lists(folder: Path, n_customers: int) -> Lists:
    """Make both lists and write them as CSV.

    Args:
        folder: where to.
        n_customers: how many rows the platform's list has; the authority's has a tenth.
    """
    chance = random.Random(n_customers)  # noqa: S311  the lists are to be the same each time
    n_suspects = max(1, n_customers // SUSPECTS_PER_CUSTOMER)
    numbers = _distinct(chance, n_customers + n_suspects)
    held = _rows(chance, numbers[:n_customers], n_customers)
    known = {number for number in held if number}
    n_shared = round(n_suspects * SHARED)
    pool = numbers[n_customers : n_customers + n_suspects - n_shared]
    pool += chance.sample(sorted(known, key=str), n_shared)
    chance.shuffle(pool)
    sought = _rows(chance, pool, n_suspects)
    customers, suspects = folder / "customers.csv", folder / "suspects.csv"
    _write(
        customers,
        ("customer", "number", "since"),
        (
            (f"C{row:07}", _spelled(chance, number), f"20{chance.randrange(10, 27)}")
            for row, number in enumerate(held, 1)
        ),
    )
    refs = [f"S-{row:05}" for row in range(1, n_suspects + 1)]
    _write(
        suspects,
        ("ref", "phone", "source"),
        (
            (ref, _spelled(chance, number), chance.choice(("notebook", "seized phone, contacts")))
            for ref, number in zip(refs, sought, strict=True)
        ),
    )
    matching = tuple(ref for ref, number in zip(refs, sought, strict=True) if number in known)
    return Lists(customers, suspects, n_customers, n_suspects, matching)


def _distinct(chance: random.Random, n_numbers: int) -> list[_Number]:
    found: dict[_Number, None] = {}
    while len(found) < n_numbers:
        country, leading, n_digits = chance.choice(_PLANS)
        rest = chance.randrange(2 * 10 ** (n_digits - 1), 10**n_digits)
        found[_Number(country, f"{leading}{rest}")] = None
    return list(found)


def _rows(chance: random.Random, numbers: list[_Number], n_rows: int) -> list[_Number | None]:
    """Spread numbers over rows, a few of them twice and a few rows without any."""
    rows: list[_Number | None] = []
    for number in numbers[:n_rows]:
        drawn = chance.random()
        if drawn < UNUSABLE:
            rows.append(None)
        elif drawn < UNUSABLE + REPEATED and rows:
            rows.append(chance.choice(rows))
        else:
            rows.append(number)
    return rows


def _spelled(chance: random.Random, number: _Number | None) -> str:
    if number is None:
        return chance.choice(_NO_NUMBERS)
    spellings = [_plain, _spaced, _dashed, _from_abroad]
    if number.country == "49":
        spellings += [_at_home, _at_home]
    return chance.choice(spellings)(number)


def _plain(number: _Number) -> str:
    return f"+{number.country}{number.national}"


def _spaced(number: _Number) -> str:
    return f"+{number.country} {_grouped(number.national, ' ')}"


def _dashed(number: _Number) -> str:
    return f"+{number.country}-{_grouped(number.national, '-')}"


def _from_abroad(number: _Number) -> str:
    return f"00{number.country} {number.national}"


def _at_home(number: _Number) -> str:
    return f"0{number.national[:3]}/{number.national[3:]}"


def _grouped(digits: str, between: str) -> str:
    return between.join([digits[:3], digits[3:6], digits[6:]])


def _write(path: Path, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
