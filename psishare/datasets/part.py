"""Write one part of a dataset, the base or a change, as shards (dataset.md, section 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from psishare import _native
from psishare.datasets.manifest import MAX_PREFIX_BITS, Part, Shard
from psishare.errors import ConfigError
from psishare.keys.durable_file import write_durably

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

OpenRuns = Callable[[], "list[pa.FixedSizeBinaryArray]"]

SHARD_ITEMS_BITS = 20
"""A shard holds about 2^20 items."""


def write_part(
    change: Literal["base", "add", "remove"],
    open_runs: OpenRuns,
    folder: Path,
    *,
    bits: int,
) -> Part:
    """Merge sorted runs into shards, write them durably, and describe them for the manifest.

    Memory holds one shard at a time.

    Args:
        change: what the part does to those before it.
        open_runs: gives the sorted runs, once for each shard, so that no more of a mapped file stays
            in memory than a shard is made from; what several runs hold is written once.
        folder: where the shards' files go.
        bits: bits of a fingerprint.

    Raises:
        ConfigError: a file cannot be written.
    """
    n_items = sum(len(run) for run in open_runs())
    wanted = max(0, (n_items - 1).bit_length() - SHARD_ITEMS_BITS) if n_items else 0
    prefix_bits = min(MAX_PREFIX_BITS, wanted)
    shards = [
        _write_shard(open_runs(), folder, bits, prefix_bits, prefix)
        for prefix in range(1 << prefix_bits)
    ]
    items = sum(shard.items for shard in shards)
    return Part(change=change, items=items, prefix_bits=prefix_bits, shards=shards)


def _write_shard(
    runs: list[pa.FixedSizeBinaryArray], folder: Path, bits: int, prefix_bits: int, prefix: int
) -> Shard:
    data, items = _native.shard_encode(runs, bits=bits, prefix_bits=prefix_bits, prefix=prefix)
    shard = Shard(items=items, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    write_durably(folder / shard.file_name, data, error=ConfigError)
    return shard
