"""Measure psishare against its peers, interleaved in one run, and write docs/benchmarks.md.

``python -m benchmarks`` compares at 2^16 rows a side, five times each, and once at 2^20.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contestants import Result, run_openmined, run_psishare
from benchmarks.lists import Lists, make_lists

if TYPE_CHECKING:
    from collections.abc import Callable

DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
MIB = 1024 * 1024

CONTESTANTS: dict[str, Callable[[Lists, Path], Result]] = {
    "openmined-psi": run_openmined,
    "psishare oprf": partial(run_psishare, protocol="oprf"),
    "psishare ecdh": partial(run_psishare, protocol="ecdh"),
}
PEER = "openmined-psi"


@dataclass(frozen=True, slots=True)
class Series:
    """All runs of one size, contestant by contestant, in the order in which they took turns."""

    exponent: int
    results: dict[str, list[Result]]

    def ratio(self, contestant: str) -> float:
        """Return the median over the turns of the peer's time to the contestant's."""
        turns = zip(self.results[PEER], self.results[contestant], strict=True)
        return statistics.median(a.total.wall_s / b.total.wall_s for a, b in turns)


def measure(exponent: int, runs: int) -> Series:
    """Let the contestants take turns on the same lists."""
    results: dict[str, list[Result]] = {name: [] for name in CONTESTANTS}
    with tempfile.TemporaryDirectory() as folder:
        lists = make_lists(Path(folder), 2**exponent, 2**exponent)
        for turn in range(runs):
            for name, contestant in CONTESTANTS.items():
                work = Path(folder) / f"{turn}-{name.replace(' ', '-')}"
                work.mkdir()
                result = contestant(lists, work)
                results[name].append(result)
                print(f"2^{exponent} {name}: {result.total.wall_s:.2f} s", file=sys.stderr)
    return Series(exponent, results)


def table(series: Series) -> str:
    """Return one size's results as a Markdown table."""
    lines = [
        "| contestant | wall s, median (min to max) | processor s | peak RSS MiB | times faster |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, results in series.results.items():
        walls = [r.total.wall_s for r in results]
        cpu_s = statistics.median(r.total.cpu_s for r in results)
        peak = max(r.total.peak_bytes for r in results) / MIB
        spread = f"{statistics.median(walls):.2f} ({min(walls):.2f} to {max(walls):.2f})"
        lines.append(f"| {name} | {spread} | {cpu_s:.2f} | {peak:.0f} | {series.ratio(name):.1f} |")
    return "\n".join(lines)


def machine() -> str:
    """Describe the machine and the versions."""
    model = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
        if line.startswith("model name")
    )
    flags = Path("/proc/cpuinfo").read_text(encoding="ascii")
    ifma = "with" if "avx512ifma" in flags else "without"
    packages = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("psishare", "openmined-psi", "pyarrow", "grpcio")
    )
    return (
        f"{model}, {os.cpu_count()} cores, {ifma} AVX-512 IFMA; Linux, "
        f"Python {platform.python_version()}; {packages}; {datetime.now(UTC):%Y-%m-%d}."
    )


def document(all_series: list[Series]) -> str:
    """Return the whole page."""
    parts = [
        "# Benchmarks",
        "",
        "Made by `make bench`. Both parties run on one machine, each from its own CSV file of phone",
        "numbers (a tenth in common, a tenth of the authority's spelt irregularly) to the authority's",
        "result file, which is compared with Python's set intersection. psishare runs as its users run",
        "it: `dataset encode`, `serve` and `match` as processes over mutual TLS, with mandate, logs and",
        "receipt; its times include starting the processes, and `oprf` includes encoding the whole",
        "dataset, which a platform does once an epoch. `openmined-psi` runs between two processes over",
        "pipes, raw data structure, with psishare's canonicalisation. The contestants take turns on the",
        "same lists; `times faster` is the median of the ratios within each turn.",
        "",
        f"Machine: {machine()}",
    ]
    for series in all_series:
        runs = len(series.results[PEER])
        turns = "once" if runs == 1 else f"{runs} turns"
        parts += ["", f"## 2^{series.exponent} rows a side, {turns}", "", table(series)]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=16, help="exponent of the small size")
    parser.add_argument("--large", type=int, default=20, help="exponent of the large size")
    parser.add_argument("--runs", type=int, default=5, help="turns at the small size")
    parser.add_argument("--out", type=Path, default=DOCUMENT, help="the page to write")
    arguments = parser.parse_args()
    series = [measure(arguments.small, arguments.runs), measure(arguments.large, 1)]
    arguments.out.write_text(document(series), encoding="utf-8")
    print(f"wrote {arguments.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
