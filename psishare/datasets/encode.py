"""Evaluate a platform's identifiers into sorted runs, within a bound on memory (dataset.md)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare import _native
from psishare.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from psishare.datasets.runs import Runs

KEY_LABEL = b"psishare/dataset/v1"
DEFAULT_MEMORY_BYTES = 512 << 20
MIN_MEMORY_BYTES = 320 << 20
_PROCESS_BYTES = 256 << 20
"""What the interpreter, its libraries and a few batches under way need."""
_BYTES_PER_ITEM = 64
"""What an item of a run needs while the run is sorted: the fingerprint three times, and a number."""

Progress = Callable[[int], None]
Read = Callable[[int], Iterable["pa.Array"]]
"""Reads canonical identifiers batch by batch, from the batch of the given number on.

Each batch is ``binary`` or ``large_binary`` without nulls; the same batches come each time.
"""


@dataclass(frozen=True, slots=True)
class DatasetName:
    """What one key is bound to: dataset, kind, namespace and epoch."""

    dataset: str
    kind: str
    namespace: str
    epoch: int

    def key_info(self) -> bytes:
        """Return the ``info`` of DeriveKeyPair (dataset.md, section 1)."""
        parts = [KEY_LABEL, *(s.encode() for s in (self.dataset, self.kind, self.namespace))]
        return b"\x00".join([*parts, self.epoch.to_bytes(8, "big")])


def new_key(name: DatasetName) -> _native.OprfKey:
    """Return a fresh key for one epoch of one dataset; the seed it came from is dropped."""
    return _native.OprfKey.derive_key_pair(secrets.token_bytes(32), name.key_info())


def run_items(memory_bytes: int) -> int:
    """Return how many items a run may have in a process that stays under a bound.

    Raises:
        InputError: the bound is less than 320 MiB.
    """
    if memory_bytes < MIN_MEMORY_BYTES:
        raise InputError(
            f"{memory_bytes >> 20} MiB of memory are too few to encode in",
            mend=f"Give at least {MIN_MEMORY_BYTES >> 20} MiB with --memory.",
            reason="memory_too_small",
        )
    return (memory_bytes - _PROCESS_BYTES) // _BYTES_PER_ITEM


def evaluate_into(
    runs: Runs, read: Read, key: _native.OprfKey, *, bits: int, max_items: int, progress: Progress
) -> None:
    """Evaluate what the runs do not cover yet, and add it to them.

    Args:
        runs: where the fingerprints go.
        read: yields the canonical identifiers; duplicates welcome.
        key: the epoch's key, durable already.
        bits: bits of a fingerprint.
        max_items: the most items of one run.
        progress: called with the number of identifiers evaluated, batch by batch.

    Raises:
        InputError: the input cannot be read to its end.
        ConfigError: the disk refuses.
    """
    n_batches, n_rows = runs.n_batches, runs.n_rows
    pending: list[pa.FixedSizeBinaryArray] = []
    n_pending = 0
    progress(n_rows)
    for batch in _one_ahead(iter(read(n_batches))):
        fingerprints = key.fingerprints(_distinct(batch), bits=bits)
        if pending and n_pending + len(fingerprints) > max_items:
            runs.add(pending, n_batches=n_batches, n_rows=n_rows)
            pending, n_pending = [], 0
        pending.append(fingerprints)
        n_pending += len(fingerprints)
        n_batches, n_rows = n_batches + 1, n_rows + len(batch)
        progress(len(batch))
    if pending:
        runs.add(pending, n_batches=n_batches, n_rows=n_rows)


def require_headroom(n_items: int, n_max: int) -> None:
    """Refuse a set that is larger than its parameters were chosen for.

    Raises:
        InputError: more items than ``n_max``.
    """
    if n_items > n_max:
        raise InputError(
            f"the dataset would hold {n_items:,} items in all its parts, more than n_max, {n_max:,}",
            mend="Encode a new epoch with a larger --n-max.",
            reason="over_n_max",
        )


def _distinct(batch: pa.Array) -> pa.Array:
    """Leave out what a batch holds twice, before it is evaluated twice."""
    first_rows, _ = _native.distinct_rows(batch)
    return batch if len(first_rows) == len(batch) else batch.take(first_rows)


def _one_ahead(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
    """Read the next batch while the last one is being worked on."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch
