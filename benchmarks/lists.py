"""Synthetic phone lists: two parties' CSV files with a known overlap, the same for the same sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = 10**9
"""Numbers that there are behind the code of a mobile network; the factors below have no part in it."""
DRAWN, SHUFFLED, SPELT = 618_033_989, 754_877_669, 569_840_291
SPELLINGS = ("+49", "0049", "0")


@dataclass(frozen=True, slots=True)
class Lists:
    """Two files and what an exchange between them must find.

    Attributes:
        platform: a CSV file with the columns ``case`` and ``number``.
        authority: the same, a tenth of its numbers spelt as people spell them.
        authority_canonical: the same rows, every number canonical, for peers that know no other form.
        n_platform, n_authority: their rows.
        common: the national numbers in both.
    """

    platform: Path
    authority: Path
    authority_canonical: Path
    n_platform: int
    n_authority: int
    common: frozenset[str]


def make_lists(
    folder: Path, n_platform: int, n_authority: int, *, platform: Path | None = None
) -> Lists:
    """Write both lists; a tenth of the smaller one is in both.

    Args:
        folder: where to.
        n_platform, n_authority: their rows.
        platform: the platform's list, where it has been written already.
    """
    n_common = min(n_platform, n_authority) // 10
    authority = _shuffled(_drawn(n_platform - n_common, n_authority))
    common = _drawn(n_platform - n_common, n_common)
    return Lists(
        platform or _write(folder / "platform.csv", _drawn(0, n_platform), irregular=False),
        _write(folder / "authority.csv", authority, irregular=True),
        _write(folder / "authority-canonical.csv", authority, irregular=False),
        n_platform,
        n_authority,
        frozenset(_national(common).to_pylist()),
    )


def write_changes(folder: Path, lists: Lists, n_changes: int) -> tuple[Path, Path]:
    """Write what an update of the platform's list adds and what it removes, half of it each."""
    half = n_changes // 2
    new = _drawn(lists.n_platform + lists.n_authority, half)
    return (
        _write(folder / "added.csv", new, irregular=False),
        _write(folder / "removed.csv", _drawn(0, n_changes - half), irregular=False),
    )


def _drawn(first: int, count: int) -> pa.Int64Array:
    """Return distinct numbers below ``NUMBERS``, which look as if they were drawn."""
    return _remainder(pa.array(range(first, first + count), pa.int64()), DRAWN)


def _shuffled(numbers: pa.Int64Array) -> pa.Int64Array:
    return numbers.take(pc.sort_indices(_remainder(numbers, SHUFFLED)))


def _remainder(numbers: pa.Int64Array, factor: int) -> pa.Int64Array:
    """Return ``factor`` times each number, modulo ``NUMBERS``: a permutation of them."""
    product = pc.multiply(numbers, factor)
    return pc.subtract(product, pc.multiply(pc.divide(product, NUMBERS), NUMBERS))


def _national(numbers: pa.Int64Array) -> pa.Array:
    digits = pc.utf8_lpad(numbers.cast(pa.string()), 9, "0")
    return pc.binary_join_element_wise("15", digits, "")


def _write(path: Path, numbers: pa.Int64Array, *, irregular: bool) -> Path:
    fronts = pa.array([0] * len(numbers), pa.int64())
    if irregular:
        drawn = _remainder(numbers, SPELT)
        die = pc.subtract(drawn, pc.multiply(pc.divide(drawn, 20), 20))
        fronts = pc.if_else(pc.less(die, 2), pc.add(die, 1), fronts)
    spelt = pa.array(SPELLINGS, pa.string()).take(fronts)
    number = pc.binary_join_element_wise(spelt, _national(numbers), "")
    case = pa.array(range(len(numbers)), pa.int64())
    options = pa_csv.WriteOptions(quoting_style="none", quoting_header="none")
    pa_csv.write_csv(pa.table({"case": case, "number": number}), path, options)
    return path
