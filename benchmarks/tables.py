"""Reading and canonicalising a list larger than its share of memory: `make bench-tables`.

Writes 20 million phone numbers, every fiftieth spelled otherwise, as Parquet and as CSV, and reads each
in a process of its own, which states its rate and its peak memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from psishare.identifiers import canonicalise
from psishare.tables import open_table

N_ROWS = 20_000_000
PART_ROWS = 1_000_000
LIMIT_MIB = 1024


def numbers(first: int, n_rows: int) -> pa.RecordBatch:
    """Return synthetic German mobile numbers; every fiftieth has spaces and a leading 00."""
    count = pa.array(range(first, first + n_rows), pa.int64())
    text = pc.utf8_lpad(count.cast(pa.string()), width=9, padding="0")
    plain = pc.binary_join_element_wise("+4915", text, "")
    spelled = pc.binary_join_element_wise("0049 15", text, "")
    odd = pc.equal(pc.subtract(count, pc.multiply(pc.divide(count, 50), 50)), 0)
    keys = pc.if_else(odd, spelled, plain)
    return pa.record_batch({"number": keys, "row": count})


def write(folder: Path, n_rows: int) -> None:
    """Write the list in both formats."""
    schema = numbers(0, 1).schema
    with (
        pq.ParquetWriter(folder / "list.parquet", schema, compression="zstd") as parquet,
        pa_csv.CSVWriter(folder / "list.csv", schema) as text,
    ):
        for first in range(0, n_rows, PART_ROWS):
            batch = numbers(first, min(PART_ROWS, n_rows - first))
            parquet.write_batch(batch)
            text.write_batch(batch)


def read(path: Path) -> None:
    """Read and canonicalise, batch by batch, as encoding's input stage does; print figures."""
    started = time.monotonic()
    n_rows = n_rejected = 0
    for batch in open_table(path).batches(["number"]):
        n_rejected += len(canonicalise(batch.column(0), "phone", region="DE").rejects)
        n_rows += batch.num_rows
        if sys.stderr.isatty():
            rate = n_rows / (time.monotonic() - started)
            print(f"\r{path.suffix}: {n_rows:,} rows, {rate:,.0f}/s", end="", file=sys.stderr)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = path.stat().st_size / 2**20
    print(
        f"{path.suffix[1:]:8} {n_rows:>11,} rows {size:>7,.0f} MiB {seconds:>7.1f} s"
        f" {n_rows / seconds:>11,.0f} rows/s {peak:>6,.0f} MiB peak, {n_rejected} rejected"
    )
    if peak > LIMIT_MIB:
        sys.exit(f"the peak is above {LIMIT_MIB} MiB")


def main() -> None:
    """Write the list, then read it in fresh processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=N_ROWS)
    parser.add_argument("--read", type=Path)
    arguments = parser.parse_args()
    if arguments.read is not None:
        read(arguments.read)
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), arguments.rows)
        for name in ("list.parquet", "list.csv"):
            command = [sys.executable, "-m", "benchmarks.tables", "--read", f"{folder}/{name}"]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
