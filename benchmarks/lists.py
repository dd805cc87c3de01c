"""Synthetic phone lists: two parties' CSV files with a known overlap, the same for the same sizes.

They are made and answers are checked in processes of their own: a process that a large one starts is
counted as large as that one was, so whoever measures has to stay small.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from benchmarks.measure import MeasuredError

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
    """

    platform: Path
    authority: Path
    authority_canonical: Path
    n_platform: int
    n_authority: int

    @classmethod
    def at(cls, folder: Path, n_platform: int, n_authority: int, platform: Path | None) -> Lists:
        """Return lists of these sizes as they lie in a folder, whether they have been made or not."""
        return cls(
            platform or folder / "platform.csv",
            folder / "authority.csv",
            folder / "authority-canonical.csv",
            n_platform,
            n_authority,
        )

    @property
    def n_common(self) -> int:
        """How many numbers are in both."""
        return min(self.n_platform, self.n_authority) // 10

    def write(self) -> None:
        """Write the files that are not there."""
        start = self.n_platform - self.n_common
        authority = _shuffled(_drawn(start, self.n_authority))
        if not self.platform.exists():
            _write(self.platform, _drawn(0, self.n_platform), irregular=False)
        _write(self.authority, authority, irregular=True)
        _write(self.authority_canonical, authority, irregular=False)

    def require_right(self, out: Path) -> None:
        """Compare a result file with Python's sets.

        Raises:
            RuntimeError: a row is missing, or one too many.
        """
        common = set(_national(_drawn(self.n_platform - self.n_common, self.n_common)).to_pylist())
        with out.open(encoding="ascii", newline="") as file:
            found = [row["number"] for row in csv.DictReader(file)]
        national = {n.removeprefix("+49").removeprefix("0049").lstrip("0") for n in found}
        if national != common or len(found) != len(national):
            raise RuntimeError(f"{out.name} has {len(found)} rows, not {len(common)}")

    def check(self, out: Path) -> None:
        """Do what ``require_right`` does, in a process of its own.

        Raises:
            MeasuredError: the answer is wrong.
        """
        try:
            _apart("check", str(out), str(self.n_platform), str(self.n_authority))
        except subprocess.CalledProcessError as error:
            raise MeasuredError(f"{out.name} is not the answer of Python's sets") from error


def make_lists(
    folder: Path, n_platform: int, n_authority: int, *, platform: Path | None = None
) -> Lists:
    """Write both lists; a tenth of the smaller one is in both.

    Args:
        folder: where to.
        n_platform, n_authority: their rows.
        platform: the platform's list, where it has been written already.
    """
    lists = Lists.at(folder, n_platform, n_authority, platform)
    _apart(
        "make",
        str(folder),
        str(n_platform),
        str(n_authority),
        *([str(platform)] if platform else []),
    )
    return lists


def _apart(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.lists", *arguments], check=True)


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


def main() -> None:
    """Make lists, or check an answer."""
    task, path, n_platform, n_authority, *known = sys.argv[1:]
    folder = Path(path) if task == "make" else Path(path).parent
    platform = Path(known[0]) if known else None
    lists = Lists.at(folder, int(n_platform), int(n_authority), platform)
    if task == "make":
        lists.write()
    else:
        lists.require_right(Path(path))


if __name__ == "__main__":
    main()
