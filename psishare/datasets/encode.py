"""Encode a platform's identifiers: evaluate, sort, cut into shards (protocols/specs/dataset.md)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from psishare import _native
from psishare.datasets.encoded_set import shard_name
from psishare.datasets.manifest import SHARD_ITEMS, Shard
from psishare.errors import ConfigError, InputError
from psishare.keys.durable_file import write_durably

if TYPE_CHECKING:
    from pathlib import Path

KEY_LABEL = b"psishare/dataset/v1"
Progress = Callable[[int], None]


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


def fingerprint_batches(
    batches: Iterable[pa.Array], key: _native.OprfKey, *, bits: int, progress: Progress
) -> pa.FixedSizeBinaryArray:
    """Evaluate canonical identifiers and return the distinct fingerprints, sorted.

    Args:
        batches: canonical identifiers, ``binary`` or ``large_binary``, no nulls; duplicates welcome.
        key: the epoch's key.
        bits: the manifest's ``fingerprint_bits``.
        progress: called with the number of identifiers evaluated, batch by batch.

    Returns:
        ``fixed_size_binary[ceil(bits / 8)]``, strictly increasing.
    """
    parts: list[pa.FixedSizeBinaryArray] = []
    for batch in batches:
        distinct = batch.unique()
        parts.append(key.fingerprints(distinct, bits=bits))
        progress(len(batch))
    width = pa.binary(-(-bits // 8))
    joined = pa.concat_arrays(parts) if parts else pa.array([], width)
    return _native.sort_elements(joined.unique())[0]


def require_headroom(n_items: int, n_max: int) -> None:
    """Refuse a set that is larger than its parameters were chosen for.

    Raises:
        InputError: more items than ``n_max``.
    """
    if n_items > n_max:
        raise InputError(
            f"the list has {n_items:,} distinct identifiers, more than n_max, {n_max:,}",
            mend="Encode again with a larger --n-max.",
            reason="over_n_max",
        )


def write_shards(fingerprints: pa.FixedSizeBinaryArray, folder: Path) -> list[Shard]:
    """Write the sorted set as shards, durably, and describe them for the manifest.

    Raises:
        ConfigError: a file cannot be written.
    """
    width = fingerprints.type.byte_width
    shards = []
    for index, start in enumerate(range(0, len(fingerprints), SHARD_ITEMS)):
        run = fingerprints.slice(start, SHARD_ITEMS)
        offset = (start + fingerprints.offset) * width
        data = memoryview(fingerprints.buffers()[1])[offset : offset + len(run) * width]
        write_durably(folder / shard_name(index), data, error=ConfigError)
        digest = hashlib.sha256(data).hexdigest()
        shards.append(Shard(items=len(run), bytes=len(data), sha256=digest))
    return shards
