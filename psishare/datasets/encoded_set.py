"""The encoded set: sorted fingerprints in memory-mapped shards, looked up where they lie."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from psishare import _native
from psishare.errors import VerificationError

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.datasets.manifest import Manifest, Shard

READ_BYTES = 1 << 20


def shard_name(index: int) -> str:
    """Return the file name of a shard (dataset.md, section 3)."""
    return f"shard-{index:05d}"


class EncodedSet:
    """The shards of one manifest, open for look-ups.

    Args:
        folder: holds the shard files; they are mapped, not read.
        manifest: what they must be; sizes are checked here, digests by ``verify_shard``.

    Raises:
        VerificationError: a shard is missing or has another size than the manifest says.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        width = manifest.width
        self._shards = [
            _map_shard(folder / shard_name(index), shard, width)
            for index, shard in enumerate(manifest.shards)
        ]

    def contains(self, fingerprints: pa.FixedSizeBinaryArray) -> pa.BooleanArray:
        """Tell for each fingerprint whether the set holds it; same shape and order."""
        found = pa.array([False] * len(fingerprints), pa.bool_())
        for shard in self._shards:
            found = pc.or_(found, _native.lookup(shard, fingerprints))
        return found


def verify_shard(path: Path, shard: Shard, *, index: int, party: str | None) -> None:
    """Compare a shard's bytes with the manifest's digest.

    Raises:
        VerificationError: they differ, or the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                digest.update(piece)
    except OSError as error:
        raise _invalid(index, "cannot be read", party) from error
    if path.stat().st_size != shard.bytes or digest.hexdigest() != shard.sha256:
        raise _invalid(index, "is not what the manifest says", party)


def verify_order(shard: pa.FixedSizeBinaryArray, previous: bytes | None, *, index: int) -> bytes:
    """Check that a shard's fingerprints are strictly increasing, and return the last one.

    Raises:
        VerificationError: they are not.
    """
    if _native.first_not_increasing(shard, previous) is not None:
        raise _invalid(index, "is not sorted", None)
    return shard[-1].as_py()  # type: ignore[no-any-return]


def read_shard(path: Path, shard: Shard, width: int) -> pa.FixedSizeBinaryArray:
    """Map one shard as ``fixed_size_binary[width]``, shape ``(items,)``."""
    return _map_shard(path, shard, width)


def _map_shard(path: Path, shard: Shard, width: int) -> pa.FixedSizeBinaryArray:
    try:
        with pa.memory_map(str(path)) as source:
            buffer = source.read_buffer()
    except OSError as error:
        raise _invalid(int(path.name.rpartition("-")[2]), "cannot be read", None) from error
    if buffer.size != shard.bytes:
        raise _invalid(int(path.name.rpartition("-")[2]), "has the wrong size", None)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), shard.items, [None, buffer])


def _invalid(index: int, fault: str, party: str | None) -> VerificationError:
    return VerificationError(
        f"shard {index} of the dataset {fault}",
        mend="Remove the dataset's copy and synchronise again; if it recurs, tell the platform.",
        reason="shard_invalid",
        party=party,
    )
