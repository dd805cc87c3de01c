"""The authority's copies of the datasets that platforms delivered (dataset.md, section 7)."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from psishare.datasets.encoded_set import EncodedSet, verify_shard
from psishare.datasets.manifest import LABEL, SignedManifest, parse_manifest
from psishare.errors import ConfigError, VerificationError
from psishare.keys.durable_file import make_folder, sync_folder, write_durably
from psishare.keys.statement import verify_statement

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psishare.datasets.manifest import Place

PIECE_BYTES = 1 << 20
COMPLETE = "complete"
SIGNATURE_BYTES = 64
LOCK = "lock"
PARTIAL = ".part"

Fetch = Callable[[int, int], bytes]
Progress = Callable[[int], None]


class DatasetCache:
    """Synchronised datasets, by platform and name; shards lie under their digests.

    Args:
        path: the folder ``datasets`` of the authority's home.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, signed: SignedManifest) -> EncodedSet | None:
        """Open the copy of exactly this manifest, or return None where it is not complete."""
        folder = self._folder(signed)
        if not (folder / _complete_name(signed)).exists():
            return None
        with _writable(folder), _locked(folder):
            # Another process may have synchronised a newer manifest meanwhile, and cleared this one.
            if not (folder / _complete_name(signed)).exists():
                return None
            return EncodedSet(folder, signed.manifest)

    def newest(self, platform: str, dataset: str, public_key: bytes) -> SignedManifest | None:
        """Return the newest manifest of which everything is here, its signature verified again.

        Args:
            platform: whose dataset.
            dataset: its name.
            public_key: the platform's pinned Ed25519 key.

        Raises:
            VerificationError: a manifest that lies here is not the platform's.
            ConfigError: the copy cannot be read.
        """
        folder = self._path / platform.replace("/", "_") / dataset
        with _writable(folder):
            kept = [path.read_bytes() for path in folder.glob(f"{COMPLETE}-*")]
        found = [_signed(data, public_key, platform) for data in kept if data]
        return max(found, key=lambda s: (s.manifest.epoch, s.manifest.sequence), default=None)

    def missing_bytes(self, signed: SignedManifest) -> int:
        """Return how many bytes of the manifest's shards are not here yet."""
        folder = self._folder(signed)
        missing = {s.file_name: s.bytes for s in signed.manifest.shards}
        return sum(
            n_bytes - _size(folder / (name + PARTIAL))
            for name, n_bytes in missing.items()
            if not (folder / name).exists()
        )

    def synchronise(
        self,
        signed: SignedManifest,
        fetch: Fetch,
        progress: Progress,
        verified: Callable[[], None],
    ) -> EncodedSet:
        """Fetch what is missing, verify it, and open the set. One at a time does, on one host.

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
        with _writable(folder):
            make_folder(folder)
            with _locked(folder):
                if not (folder / _complete_name(signed)).exists():
                    _complete(folder, signed, fetch, progress, verified)
                return EncodedSet(folder, signed.manifest)

    def _folder(self, signed: SignedManifest) -> Path:
        manifest = signed.manifest
        return self._path / manifest.platform.replace("/", "_") / manifest.dataset


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"the dataset's copy cannot be written under {folder}",
            mend="Check free space and permissions, then run the same command again.",
            reason="dataset_unwritable",
        ) from error


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
    folder: Path,
    signed: SignedManifest,
    fetch: Fetch,
    progress: Progress,
    verified: Callable[[], None],
) -> None:
    """Have every shard, tell that they are verified, and clear what the manifest does not name."""
    for place in signed.manifest.places():
        if not (folder / place.shard.file_name).exists():
            _receive(folder, place, fetch, progress, signed.manifest.platform)
    sync_folder(folder)
    verified()
    write_durably(
        folder / _complete_name(signed),
        signed.signature + signed.document,
        error=ConfigError,
        reason="dataset_unwritable",
    )
    sync_folder(folder)
    named = {shard.file_name for shard in signed.manifest.shards} | {LOCK, _complete_name(signed)}
    for path in folder.iterdir():
        if path.name not in named:
            path.unlink()


def _receive(folder: Path, place: Place, fetch: Fetch, progress: Progress, party: str) -> None:
    """Append what is missing of one shard; it takes its name once it is verified."""
    shard = place.shard
    path = folder / (shard.file_name + PARTIAL)
    path.touch(mode=0o600)
    have = path.stat().st_size
    with path.open("ab") as file:
        while have < shard.bytes:
            piece = fetch(place.index, have)
            if not 0 < len(piece) <= min(PIECE_BYTES, shard.bytes - have):
                raise VerificationError(
                    f"the platform sent {len(piece)} bytes of shard {place.index} where "
                    f"1 to {min(PIECE_BYTES, shard.bytes - have)} were due",
                    mend="Use the same version of psishare on both sides.",
                    reason="shard_invalid",
                )
            file.write(piece)
            have += len(piece)
            progress(len(piece))
        file.flush()
        os.fsync(file.fileno())
    try:
        verify_shard(path, place, party=party)
    except VerificationError:
        path.unlink(missing_ok=True)
        raise
    path.rename(folder / shard.file_name)


def _signed(data: bytes, public_key: bytes, platform: str) -> SignedManifest:
    """Read back what says that all of a manifest is here: its signature and its bytes."""
    signature, document = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
    verify_statement(public_key, LABEL, document, signature, party=platform)
    return SignedManifest(parse_manifest(document), document, signature)


def _complete_name(signed: SignedManifest) -> str:
    """Return the name of the file that says that all of a manifest is here, verified."""
    return f"{COMPLETE}-{signed.sha256.hex()}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
