"""One epoch of a dataset as it lies in the platform's home: manifest, key, shards, its end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psishare import _native
from psishare.datasets.encoded_set import EncodedSet, verify_shard
from psishare.datasets.manifest import LABEL, Manifest, SignedManifest, parse_manifest
from psishare.errors import ConfigError
from psishare.keys.durable_file import overwrite, sync_folder, write_durably
from psishare.keys.statement import verify_statement

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.keys.vault import Vault

KEY_ALGORITHM = "oprf-ristretto255-sha512"
KEY_FILE = "key.json"
REVOKED_FILE = "revoked"
RETIRES_FILE = "retires"
DESTROYED_FILE = "key-destroyed"
_UPDATE = re.compile(r"update-([1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Dataset:
    """One epoch of a dataset, as its newest manifest describes it.

    Attributes:
        folder: where the epoch lies.
        signed: its newest manifest.
        began: when the epoch was made: the time of its first manifest.
        entry: the index of that manifest's entry in the platform's log.
        vault: reads the epoch's key.
    """

    folder: Path
    signed: SignedManifest
    began: datetime
    entry: int
    vault: Vault

    @property
    def manifest(self) -> Manifest:
        """The manifest."""
        return self.signed.manifest

    def key(self) -> _native.OprfKey:
        """Read the epoch's secret key.

        Raises:
            ConfigError: the file is missing, damaged, or others can read it, or the home does not
                open.
        """
        secret = self.vault.read(self.folder / KEY_FILE, algorithm=KEY_ALGORITHM)
        key = _native.OprfKey.from_secret_bytes(secret)
        if key.public_key.hex() != self.manifest.public_key:
            raise ConfigError(
                f"the key in {self.folder} is not the one that its manifest names",
                mend="Restore key.json from a backup, or encode a new epoch.",
                reason="key_mismatch",
            )
        return key

    def contents(self) -> EncodedSet:
        """Open the set for look-ups.

        Raises:
            VerificationError: a shard is missing or has another size than the manifest says.
        """
        return EncodedSet(self.folder, self.manifest)

    def verify_shards(self) -> None:
        """Verify every shard's digest and encoding.

        Raises:
            VerificationError: a shard is not what the manifest says.
        """
        for place in self.manifest.places():
            path = self.folder / place.shard.file_name
            verify_shard(path, place, party=self.manifest.platform)

    def require_in_use(self) -> None:
        """Refuse an epoch that is revoked, or whose key is destroyed.

        Raises:
            ConfigError: it is.
        """
        if self.is_revoked or self.is_destroyed:
            raise ConfigError(
                f"epoch {self.manifest.epoch} of {self.manifest.dataset} is revoked, or its key is destroyed",
                mend="Encode a new epoch.",
                reason="dataset_retired",
            )

    def retire(self, at: str) -> None:
        """Note when the epoch's key is to be destroyed, unless that is noted already.

        Args:
            at: the time, as documents write it.

        Raises:
            ConfigError: the disk refuses.
        """
        if self.retires_at is None:
            path = self.folder / RETIRES_FILE
            write_durably(path, f"{at}\n".encode("ascii"), error=ConfigError)

    @property
    def retires_at(self) -> str | None:
        """When the epoch's key is to be destroyed, as documents write times; None where never."""
        try:
            return (self.folder / RETIRES_FILE).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None

    @property
    def is_destroyed(self) -> bool:
        """Whether the log says that the epoch's key is destroyed."""
        return (self.folder / DESTROYED_FILE).exists()

    def destroy_key(self) -> None:
        """Overwrite the epoch's key and remove it. One that is gone already stays gone.

        On a medium that keeps old blocks (a flash drive, a snapshot, a backup) a copy may survive.

        Raises:
            ConfigError: the disk refuses.
        """
        path = self.folder / KEY_FILE
        try:
            with path.open("r+b") as file:
                overwrite(file)
            path.unlink()
            sync_folder(self.folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(
                f"the key {path} cannot be destroyed: {error.strerror or type(error).__name__}",
                mend="Check permissions there, then try again.",
                reason="dataset_unwritable",
            ) from error

    def note_destroyed(self) -> None:
        """Note that the log says that the key is destroyed.

        Raises:
            ConfigError: the disk refuses.
        """
        write_durably(self.folder / DESTROYED_FILE, b"", error=ConfigError)

    @property
    def is_revoked(self) -> bool:
        """Whether the platform has revoked this epoch; looked up anew each time."""
        return (self.folder / REVOKED_FILE).exists()

    def revoke(self) -> None:
        """Mark the epoch as revoked, durably.

        Raises:
            ConfigError: the disk refuses.
        """
        write_durably(self.folder / REVOKED_FILE, b"", error=ConfigError)


def open_dataset(folder: Path, public_key: bytes, vault: Vault) -> Dataset:
    """Open one epoch's folder, as ``serve --dataset DIR`` names it.

    Args:
        folder: the epoch's.
        public_key: the platform's Ed25519 key; the manifest must be signed by it.
        vault: of the home that holds the epoch's key.

    Raises:
        ConfigError: it is not a dataset's folder.
        VerificationError: the manifest is damaged or not signed with ``public_key``.
    """
    try:
        newest = _newest_manifest(folder)
        first, signed = (_signed_manifest(place, public_key) for place in (folder, newest))
        began = datetime.fromisoformat(first.manifest.created)
        entry = int((newest / "entry").read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{folder} is not a dataset's folder",
            mend="Name a folder made by `psishare dataset encode`, such as datasets/NAME/epoch-1.",
            reason="dataset_unknown",
        ) from error
    return Dataset(folder, signed, began, entry, vault)


def _signed_manifest(folder: Path, public_key: bytes) -> SignedManifest:
    document = (folder / "manifest.json").read_bytes()
    signature = (folder / "manifest.sig").read_bytes()
    manifest = parse_manifest(document)
    verify_statement(public_key, LABEL, document, signature, party=manifest.platform)
    return SignedManifest(manifest, document, signature)


def _newest_manifest(folder: Path) -> Path:
    """Return the folder of the newest manifest: an update's, or the epoch's own."""
    updates = [(int(m[1]), p) for p in folder.iterdir() if (m := _UPDATE.fullmatch(p.name))]
    return max(updates)[1] if updates else folder
