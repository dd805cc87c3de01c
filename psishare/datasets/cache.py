"""The authority's copies of the datasets that platforms delivered (dataset.md, section 5)."""

from __future__ import annotations

import contextlib
import fcntl
import os
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
from psishare.keys.durable_file import make_folder, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psishare.datasets.manifest import Manifest, Shard, SignedManifest

PIECE_BYTES = 1 << 20
COMPLETE = "complete"
LOCK = "lock"

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

    def synchronise(
        self,
        signed: SignedManifest,
        fetch: Fetch,
        progress: Progress,
        verified: Callable[[], None],
    ) -> EncodedSet:
        """Fetch what is missing, verify all of it, and open it. One at a time does, on one host.

        Args:
            signed: the manifest, its signature already verified.
            fetch: returns the bytes of a shard from an offset on, at most 1 MiB, at least one.
            progress: called with the number of bytes received.
            verified: called when every shard is there and verified; the copy is complete, and can be
                opened, only after it has returned.

        Raises:
            VerificationError: a shard is not what the manifest says; it is removed.
            ConfigError: the copy cannot be written.
        """
        folder = self._folder(signed)
        try:
            make_folder(folder)
            with _locked(folder):
                if not (folder / COMPLETE).exists():
                    _complete(folder, signed.manifest, fetch, progress, verified)
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


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a copy's lock, among threads too: each time it is another open file."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(folder / LOCK, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _complete(
    folder: Path, manifest: Manifest, fetch: Fetch, progress: Progress, verified: Callable[[], None]
) -> None:
    for index, shard in enumerate(manifest.shards):
        _receive(folder / shard_name(index), index, shard, fetch, progress)
    _verify(folder, manifest)
    verified()
    (folder / COMPLETE).touch(mode=0o600)
    sync_folder(folder)


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
        file.flush()
        os.fsync(file.fileno())


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
