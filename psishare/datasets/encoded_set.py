"""The encoded set: shards mapped from their files, looked up where they lie."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from psishare import _native
from psishare.errors import ProtocolError, VerificationError

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.datasets.manifest import Manifest, Place

READ_BYTES = 1 << 20


class EncodedSet:
    """The shards of one manifest, open for look-ups.

    Args:
        folder: holds the shard files; they are mapped, not read.
        manifest: what they must be; sizes are checked here, digests by ``verify_shard``.

    Raises:
        VerificationError: a shard is missing or has another size than the manifest says.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._bits = manifest.fingerprint_bits
        shards = [map_shard(folder / place.shard.file_name, place) for place in manifest.places()]
        self._parts: list[tuple[bool, list[pa.UInt8Array]]] = []
        for part in manifest.parts:
            mapped, shards = shards[: len(part.shards)], shards[len(part.shards) :]
            self._parts.append((part.change == "remove", mapped))

    def contains(self, fingerprints: pa.FixedSizeBinaryArray) -> pa.BooleanArray:
        """Tell for each fingerprint whether the set holds it; same shape and order.

        The last part that holds a fingerprint decides (dataset.md, section 5).

        Raises:
            VerificationError: a shard is not one of its place.
        """
        found = pa.array([False] * len(fingerprints), pa.bool_())
        for removed, shards in self._parts:
            try:
                held = _native.shard_lookup(shards, fingerprints, bits=self._bits)
            except ProtocolError as error:
                raise VerificationError(
                    "a shard of the dataset is not the one of its place",
                    mend="Remove the dataset's copy and synchronise again.",
                    reason="shard_invalid",
                ) from error
            found = pc.and_not(found, held) if removed else pc.or_(found, held)
        return found


def verify_shard(path: Path, place: Place, *, party: str | None) -> None:
    """Compare a shard with the manifest's digest, and verify that it is the encoding of its items.

    Raises:
        VerificationError: it is not, or the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                digest.update(piece)
    except OSError as error:
        raise _invalid(place, "cannot be read", party) from error
    if digest.hexdigest() != place.shard.sha256:
        raise _invalid(place, "is not what the manifest says", party)
    try:
        _native.shard_verify(
            map_shard(path, place),
            bits=place.bits,
            prefix_bits=place.prefix_bits,
            prefix=place.prefix,
            items=place.shard.items,
        )
    except ProtocolError as error:
        raise _invalid(place, "is not the encoding of its items", party) from error


def map_shard(path: Path, place: Place) -> pa.UInt8Array:
    """Map one shard's bytes, ``uint8``.

    Raises:
        VerificationError: it cannot be read, or has another size than the manifest says.
    """
    try:
        with pa.memory_map(str(path)) as source:
            buffer = source.read_buffer()
    except OSError as error:
        raise _invalid(place, "cannot be read", None) from error
    if buffer.size != place.shard.bytes:
        raise _invalid(place, "has the wrong size", None)
    return pa.Array.from_buffers(pa.uint8(), buffer.size, [None, buffer])


def _invalid(place: Place, fault: str, party: str | None) -> VerificationError:
    return VerificationError(
        f"shard {place.index} of the dataset {fault}",
        mend="Remove the dataset's copy and synchronise again; if it recurs, tell the platform.",
        reason="shard_invalid",
        party=party,
    )
