"""The page that a campaign's record becomes: docs/benchmarks.md, with its plot beside it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contestants import (
    CONTESTANTS,
    CURVE25519,
    ECDH,
    ELLIGATOR2,
    OPENMINED,
    OPRF,
    UNBALANCED,
)
from benchmarks.peer_environment import REQUIREMENTS, peer_python

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.record import Record

MIB = 1024 * 1024
INTRODUCTION = """\
# Benchmarks

Made by `make bench` (20 minutes on two cores); `make bench-full` goes to the largest sizes, and
`python -m benchmarks --full --only psishare` takes psishare's alone. Both parties
run on one machine and share its cores, each from its own CSV file of phone numbers to the authority's
result file. A tenth of the shorter list is in both. The contestants take turns on the same lists, and
every answer is compared with Python's sets.

psishare runs as its users run it: `dataset encode`, `serve` and `match` are processes that speak mutual
TLS under a mandate, keep logs and sign a receipt; its times include starting them, and those of `oprf`
include encoding the whole dataset, which a platform does once an epoch. A tenth of the authority's
numbers are spelt as people spell them. OpenMined's package runs between two processes over pipes, raw data
structure, with psishare's canonical forms, without which it would find less. SecretFlow's package runs
between two processes over its own links, without TLS, on lists that are canonical already: it has no
canonical forms, and what they cost is not in its times. Of the peers' protocols, KKRT and RR22 stand on
oblivious transfer and not on a group: they are faster and send more. CURVE_25519 and CURVE_FOURQ hash
to the curve in ways whose security is not that of a random oracle; CURVE_25519_ELLIGATOR2 is what compares
with psishare's hash to the group.

`Bytes sent` is what the loopback interface carried, headers included (OpenMined: the messages alone).
"""


def write_page(path: Path, record: Record) -> None:
    """Write the page and its plot."""
    plot = path.with_suffix(".svg")
    drawn = _draw(plot, record)
    parts = [INTRODUCTION, f"Machine: {_machine()}\n", *_left_out(record)]
    parts += [
        "## What it comes to\n",
        _table(("figure", "measured", "range", "turns"), _claims(record)),
    ]
    if drawn:
        parts.append(f"![Time and bytes against the size of two like lists]({plot.name})\n")
    parts += [_size_section(record, exponent) for exponent in _exponents(record)]
    parts += [*_skewed_section(record), *_dataset_section(record), *_curve_section(record)]
    path.write_text("\n".join(parts), encoding="utf-8")


def _left_out(record: Record) -> Iterator[str]:
    measured = {cell.contestant for cell, _ in record.of_kind("exchange")}
    failed = {cell.contestant for cell, _ in record.failures()}
    missing = [name for name in CONTESTANTS if name not in measured | failed]
    if missing:
        yield f"Left out, because they do not install here: {', '.join(missing)}.\n"
    for cell, how in record.failures():
        yield f"{cell.contestant} failed at 2^{cell.platform} x 2^{cell.authority}: {how}.\n"


# What it comes to.


def _claims(record: Record) -> Iterator[tuple[str, ...]]:
    for _, measured in record.of_kind("one_core")[:1]:
        yield from _one_core_claims(record, measured["backend"])
    top = max((e for e in _exponents(record) if record.turns(ECDH.name, e)), default=0)
    top = min(top, 20)
    for ours, theirs, largest, what in (
        (ECDH, CURVE25519, 20, "`ecdh`, times faster than SecretFlow's ECDH on CURVE_25519"),
        (ECDH, ELLIGATOR2, 17, "`ecdh`, times faster than SecretFlow's ECDH on ELLIGATOR2"),
        (OPRF, OPENMINED, 18, "`oprf` in total, times faster than OpenMined PSI"),
    ):
        size = min(top, largest)
        scale = 2 ** (top - size)
        scaled = f", scaled from 2^{size}" if scale > 1 else ""
        pairs = zip(record.turns(theirs.name, size), record.turns(ours.name, top), strict=False)
        ratios = [scale * _wall(a) / _wall(b) for a, b in pairs]
        if ratios:
            yield (f"2^{top} x 2^{top}, {what}{scaled}", *_spread(ratios))
    for cell, life in record.of_kind("dataset"):
        yield from _dataset_claims(record, f"2^{cell.platform}", life)


def _one_core_claims(record: Record, backend: str) -> Iterator[tuple[str, ...]]:
    turns = [measured for _, measured in record.of_kind("one_core")]
    yield (f"one evaluation on one core, {backend}, µs", *_spread(_all(turns, "evaluate_us"), 2))
    portable = _spread(_all(turns, "portable_us"), 2)
    yield ("the same on dalek's fastest stable backend, as without AVX-512 IFMA, µs", *portable)
    for what, other in (
        ("one X25519 of OpenSSL's", "x25519_us"),
        ("one of dalek's", "portable_us"),
    ):
        ratios = [turn[other] / turn["evaluate_us"] for turn in turns]
        yield (f"evaluations in the time of {what}", *_spread(ratios, 2))


def _dataset_claims(record: Record, size: str, life: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    encode_us = 1e6 * life["encode"]["cpu_s"] / life["items"]
    yield (f"encode of {size}, processor µs an item", f"{encode_us:.2f}", "", "1")
    theirs = [
        (cell, 1e6 * measured["platform"]["cpu_s"] / 2**cell.platform)
        for cell, measured in record.of_kind("exchange")
        if cell.contestant == UNBALANCED.name and cell.authority < cell.platform
    ]
    if theirs:
        cell, peer_us = theirs[-1]
        what = f"the same of SecretFlow's unbalanced platform at 2^{cell.platform}, times as much"
        yield (what, f"{peer_us / encode_us:.1f}", "", "1")
    yield (f"bytes an item of {size}", f"{life['n_bytes'] / life['items']:.2f}", "", "1")
    for rows, seconds in life["exchanges_s"].items():
        yield (f"exchange of {int(rows):,} rows with {size}, s", *_spread(seconds, 2))
    peak = life["encode"]["peak_bytes"] / MIB
    yield (f"encode of {size}, peak memory, MiB", f"{peak:.0f}", "", "1")
    share = 100 * life["update"]["cpu_s"] / life["encode"]["cpu_s"]
    yield (
        f"update of {life['changed']:,} rows of {size}, % of the encode's processor time",
        f"{share:.2f}",
        "",
        "1",
    )


# Every size.


def _size_section(record: Record, exponent: int) -> str:
    rows = []
    for name in CONTESTANTS:
        turns = record.turns(name, exponent)
        if turns:
            rows.append((name, *_costs(turns)))
    return f"## 2^{exponent} rows a side\n\n" + _table(_COLUMNS, rows)


_COLUMNS = ("contestant", "wall s", "range", "turns", "processor s", "peak MiB", "bytes sent")


def _costs(turns: list[dict[str, Any]]) -> tuple[str, ...]:
    cpu_s = statistics.median(turn["total"]["cpu_s"] for turn in turns)
    peak = max(turn["total"]["peak_bytes"] for turn in turns) / MIB
    sent = statistics.median(turn["sent_bytes"] for turn in turns)
    return (*_spread(map(_wall, turns), 2), f"{cpu_s:.2f}", f"{peak:.0f}", f"{sent:,.0f}")


def _skewed_section(record: Record) -> Iterator[str]:
    cells = [c for c, _ in record.of_kind("exchange") if c.authority < c.platform]
    if not cells:
        return
    cells.sort(key=lambda cell: cell.platform)
    yield f"## A platform's large list, an authority's of 2^{cells[0].authority}\n"
    rows = []
    for cell in cells:
        turns = record.turns(cell.contestant, cell.platform, cell.authority)
        served = statistics.median(turn["platform"]["cpu_s"] for turn in turns)
        rows.append((f"2^{cell.platform}", cell.contestant, *_costs(turns), f"{served:.2f}"))
    yield _table(("platform", *_COLUMNS, "platform's processor s"), rows)


def _dataset_section(record: Record) -> Iterator[str]:
    for cell, life in record.of_kind("dataset"):
        yield f"## A dataset of 2^{cell.platform}\n"
        encode, update = life["encode"], life["update"]
        rows = [
            ("encode, wall s", f"{encode['wall_s']:.1f}"),
            ("encode, processor s", f"{encode['cpu_s']:.1f}"),
            ("encode, peak MiB", f"{encode['peak_bytes'] / MIB:.0f}"),
            ("bytes of all shards", f"{life['n_bytes']:,}"),
            ("first exchange, which fetches them, s", f"{life['synchronise_s']:.2f}"),
            ("serve, peak MiB", f"{life['serve_peak_bytes'] / MIB:.0f}"),
            (f"update of {life['changed']:,} rows, wall s", f"{update['wall_s']:.2f}"),
            ("update, processor s", f"{update['cpu_s']:.2f}"),
        ]
        for n_rows, seconds in life["exchanges_s"].items():
            middle, spread, _ = _spread(seconds, 2)
            rows.append((f"exchange of {int(n_rows):,} rows, s", f"{middle} ({spread})"))
        yield _table(("", "measured"), rows)


def _curve_section(record: Record) -> Iterator[str]:
    yield "## What an item costs\n"
    yield "Processor microseconds of both parties for each item of the two lists, process starts included.\n"
    rows = [
        (f"2^{exponent}", *(_item_us(record, each.name, exponent) for each in (OPRF, ECDH)))
        for exponent in _exponents(record)
    ]
    yield _table(("rows a side", OPRF.name, ECDH.name), rows)


def _item_us(record: Record, name: str, exponent: int) -> str:
    turns = record.turns(name, exponent)
    if not turns:
        return ""
    cpu_s = statistics.median(turn["total"]["cpu_s"] for turn in turns)
    return f"{1e6 * cpu_s / 2 ** (exponent + 1):.2f}"


# Small things.


def _exponents(record: Record) -> list[int]:
    return sorted({c.platform for c, _ in record.of_kind("exchange") if c.platform == c.authority})


def _wall(measured: dict[str, Any]) -> float:
    return float(measured["total"]["wall_s"])


def _all(turns: Iterable[dict[str, Any]], key: str) -> list[float]:
    return [float(turn[key]) for turn in turns]


def _spread(values: Iterable[float], digits: int = 1) -> tuple[str, str, str]:
    """Return median, range and number of values, as a table shows them."""
    known = list(values)
    low, high = min(known), max(known)
    shown = f"{low:.{digits}f} to {high:.{digits}f}" if len(known) > 1 else ""
    return f"{statistics.median(known):.{digits}f}", shown, str(len(known))


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    header = list(columns)
    lines = [header, ["---"] * len(header), *map(list, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _machine() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="ascii")
    model = next(
        line.partition(":")[2].strip()
        for line in text.splitlines()
        if line.startswith("model name")
    )
    ifma = "with" if "avx512ifma" in text else "without"
    names = ("psishare", "openmined-psi", "pyarrow", "grpcio")
    packages = [f"{name} {importlib.metadata.version(name)}" for name in names]
    pinned = [
        line.replace("==", " ")
        for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines()
        if line.startswith("spu")
    ]
    return (
        f"{model}, {os.cpu_count()} cores, {ifma} AVX-512 IFMA; Linux, "
        f"Python {platform.python_version()}; {', '.join([*packages, *pinned])}; "
        f"{datetime.now(UTC):%Y-%m-%d}."
    )


def _draw(plot: Path, record: Record) -> bool:
    """Draw the plot in the peers' environment, which has what it takes."""
    python = peer_python()
    if python is None:
        return False
    series = []
    for name in CONTESTANTS:
        sizes = [e for e in _exponents(record) if record.turns(name, e)]
        turns = [record.turns(name, e) for e in sizes]
        wall = [statistics.median(map(_wall, each)) for each in turns]
        sent = [statistics.median(turn["sent_bytes"] for turn in each) for each in turns]
        series.append({"name": name, "sizes": [2**e for e in sizes], "wall_s": wall, "bytes": sent})
    script = Path(__file__).with_name("plot.py")
    subprocess.run([python, script, plot], input=json.dumps(series), text=True, check=True)
    return True
