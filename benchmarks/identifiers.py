"""How fast each kind becomes canonical on one core: `python -m benchmarks.identifiers`.

Three columns a kind: values that are canonical already, published spellings that are not, and the
same through the library alone, value by value.
"""

from __future__ import annotations

import contextlib
import time

import pyarrow as pa

from psishare.identifiers import KINDS, canonicalise
from psishare.identifiers.reject import Unacceptable
from psishare.identifiers.ruleset import vectors

N_FAST = 200_000
N_LIBRARY = 4_000


def rate(values: list[str], kind: str) -> float:
    """Return values a second through ``canonicalise``."""
    column = pa.array(values, pa.large_string())
    canonicalise(column.slice(0, 10), kind)
    started = time.perf_counter()
    canonicalise(column, kind)
    return len(values) / (time.perf_counter() - started)


def library_rate(values: list[str], kind: str) -> float:
    """Return values a second through the library alone."""
    rule = KINDS[kind]
    started = time.perf_counter()
    for value in values:
        with contextlib.suppress(Unacceptable):
            rule.canonical(value, None)
    return len(values) / (time.perf_counter() - started)


def main() -> None:
    """Print a table in Markdown."""
    pa.set_cpu_count(1)
    print("| kind | canonical already, whole buffers | through the library |")
    print("| --- | ---: | ---: |")
    for name in KINDS:
        found = [v for v in vectors(name) if v.canonical and v.input and v.region is None]
        canonical = [v.canonical for v in found if v.canonical]
        spelled = [v.input for v in found if v.input]
        column = pa.array(canonical, pa.large_string())
        settled = column.filter(KINDS[name].is_canonical(column)).to_pylist()
        fast = f"{rate(settled * (N_FAST // len(settled)), name):,.0f}/s" if settled else "–"
        slow = library_rate(spelled * (N_LIBRARY // len(spelled)), name)
        print(f"| {name} | {fast} | {slow:,.0f}/s |")


if __name__ == "__main__":
    main()
