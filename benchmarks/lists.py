"""Synthetic phone lists: two parties' CSV files with a known overlap, the same for the same size."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SPELLINGS = ("+49{}", "0049{}", "0{}")


@dataclass(frozen=True, slots=True)
class Lists:
    """Two files and what an exchange between them must find.

    Attributes:
        platform: a CSV file with the columns ``customer`` and ``number``.
        authority: a CSV file with the columns ``case`` and ``number``.
        common: the national numbers in both.
    """

    platform: Path
    authority: Path
    common: frozenset[str]


def make_lists(folder: Path, n_platform: int, n_authority: int, *, seed: int = 1) -> Lists:
    """Write both lists; a tenth of the smaller one is in both.

    The platform's numbers are canonical, as a subscriber database has them; a tenth of the
    authority's are spelt as people spell them.
    """
    source = random.Random(seed)
    n_common = min(n_platform, n_authority) // 10
    wanted = n_platform + n_authority - n_common
    numbers = [f"15{n:09d}" for n in source.sample(range(10**9), wanted)]
    platform, authority = numbers[:n_platform], numbers[n_platform - n_common :]
    source.shuffle(authority)
    spelt = (
        SPELLINGS[source.randrange(3)].format(n) if source.randrange(10) == 0 else f"+49{n}"
        for n in authority
    )
    return Lists(
        _write(folder / "platform.csv", "customer", (f"+49{n}" for n in platform)),
        _write(folder / "authority.csv", "case", spelt),
        frozenset(numbers[n_platform - n_common : n_platform]),
    )


def _write(path: Path, first_column: str, numbers: Iterable[str]) -> Path:
    with path.open("w", encoding="ascii") as file:
        file.write(f"{first_column},number\n")
        file.writelines(f"{i},{number}\n" for i, number in enumerate(numbers))
    return path
