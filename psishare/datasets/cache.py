"""The authority's copies of the datasets that platforms delivered (dataset.md, section 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from psishare.datasets.encoded_set import (
    EncodedSet,
    read_shard,
    shard_name,
    verify_order,
    verify_shard,
)
from psishare.errors import ConfigError, VerificationError

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.datasets.manifest import Manifest, Shard, SignedManifest

PIECE_BYTES = 1 << 20
COMPLETE = "complete"

Fetch = Callable[[int, int], bytes]
Progress = Callable[[int], None]


class DatasetCache:
    """Synchronised datasets, by platform and manifest digest.

    Args:
        path: the folder ``datasets`` of the authority's home.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, signed: SignedManifest) -> EncodedSet | None:
        """Open the copy of exactly this manifest, or return None where it is not complete."""
        folder = self._folder(signed)
        if not (folder / COMPLETE).exists():
            return None
        return EncodedSet(folder, signed.manifest)

    def synchronise(self, signed: SignedManifest, fetch: Fetch, progress: Progress) -> EncodedSet:
        """Fetch what is missing, verify all of it, and open it.

        Args:
            signed: the manifest, its signature already verified.
            fetch: returns the bytes of a shard from an offset on, at most 1 MiB, at least one.
            progress: called with the number of bytes received.

        Raises:
            VerificationError: a shard is not what the manifest says; it is removed.
            ConfigError: the copy cannot be written.
        """
        folder = self._folder(signed)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for index, shard in enumerate(signed.manifest.shards):
                _receive(folder / shard_name(index), index, shard, fetch, progress)
            _verify(folder, signed.manifest)
            (folder / COMPLETE).touch(mode=0o600)
        except OSError as error:
            raise ConfigError(
                f"the dataset's copy cannot be written under {folder}",
                mend="Check free space and permissions, then run the same command again.",
                reason="dataset_unwritable",
            ) from error
        return EncodedSet(folder, signed.manifest)

    def _folder(self, signed: SignedManifest) -> Path:
        manifest = signed.manifest
        platform = manifest.platform.replace("/", "_")
        return self._path / platform / manifest.dataset / signed.sha256.hex()


def _receive(path: Path, index: int, shard: Shard, fetch: Fetch, progress: Progress) -> None:
    """Append what is missing of one shard."""
    path.touch(mode=0o600)
    have = path.stat().st_size
    with path.open("ab") as file:
        while have < shard.bytes:
            piece = fetch(index, have)
            if not 0 < len(piece) <= min(PIECE_BYTES, shard.bytes - have):
                raise VerificationError(
                    f"the platform sent {len(piece)} bytes of shard {index} where "
                    f"1 to {min(PIECE_BYTES, shard.bytes - have)} were due",
                    mend="Use the same version of psishare on both sides.",
                    reason="shard_invalid",
                )
            file.write(piece)
            have += len(piece)
            progress(len(piece))


def _verify(folder: Path, manifest: Manifest) -> None:
    """Verify every shard's digest and the order of all fingerprints; remove a wrong shard."""
    previous: bytes | None = None
    for index, shard in enumerate(manifest.shards):
        path = folder / shard_name(index)
        try:
            verify_shard(path, shard, index=index, party=manifest.platform)
            previous = verify_order(read_shard(path, shard, manifest.width), previous, index=index)
        except VerificationError:
            path.unlink(missing_ok=True)
            raise
