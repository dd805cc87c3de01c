"""A platform's datasets on disk: one folder an epoch, a key, a signed manifest and shards in each.

``<home>/datasets/<name>/epoch-<n>/`` holds ``manifest.json`` (the signed bytes), ``manifest.sig``,
``key.json``, ``entry`` (where the log says that it was published) and the shards. A folder that is there is whole: it is made beside its place and moved.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psishare import _native
from psishare.datasets.encode import (
    DatasetName,
    Progress,
    fingerprint_batches,
    new_key,
    require_headroom,
    write_shards,
)
from psishare.datasets.manifest import (
    LABEL,
    MAX_BYTES,
    NAME,
    Manifest,
    Ruleset,
    SignedManifest,
    parse_manifest,
)
from psishare.errors import ConfigError, InputError
from psishare.keys.durable_file import sync_folder, write_durably
from psishare.keys.key_file import read_key_file, write_key_file
from psishare.keys.statement import sign_statement, verify_statement
from psishare.psi.suite import fingerprint_bits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from psishare.keys.signer import Signer

KEY_ALGORITHM = "oprf-ristretto255-sha512"
_EPOCH = re.compile(r"epoch-([1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a new epoch is made with.

    Attributes:
        platform: the platform's id.
        ruleset: version and digest of the kind's canonical form.
        n_max: the most items the epoch may ever hold.
        max_query: the most distinct rows one exchange may ask.
        created: the time, as documents write it.
    """

    platform: str
    ruleset: Ruleset
    n_max: int
    max_query: int
    created: str


@dataclass(frozen=True, slots=True)
class NewEpoch:
    """An epoch that is written and not yet in its place."""

    folder: Path
    signed: SignedManifest

    def note_entry(self, index: int) -> None:
        """Note the index of its ``dataset.published`` entry in the platform's log."""
        write_durably(self.folder / "entry", f"{index}\n".encode(), error=ConfigError)


@dataclass(frozen=True, slots=True)
class Dataset:
    """One epoch of a dataset, ready to be served.

    Attributes:
        folder: where it lies.
        signed: its manifest.
        entry: the index of its ``dataset.published`` entry in the platform's log.
    """

    folder: Path
    signed: SignedManifest
    entry: int

    @property
    def manifest(self) -> Manifest:
        """The manifest."""
        return self.signed.manifest

    def key(self) -> _native.OprfKey:
        """Read the epoch's secret key.

        Raises:
            ConfigError: the file is missing, damaged, or others can read it.
        """
        secret = read_key_file(self.folder / "key.json", algorithm=KEY_ALGORITHM)
        key = _native.OprfKey.from_secret_bytes(secret)
        if key.public_key.hex() != self.manifest.public_key:
            raise ConfigError(
                f"the key in {self.folder} is not the one that its manifest names",
                mend="Restore key.json from a backup, or encode a new epoch.",
                reason="key_mismatch",
            )
        return key


class DatasetStore:
    """The datasets of one platform's home folder.

    Args:
        path: the folder ``datasets`` of the home.
        public_key: the platform's Ed25519 key; every manifest must be signed by it.
    """

    def __init__(self, path: Path, *, public_key: bytes) -> None:
        self._path = path
        self._public_key = public_key

    def names(self) -> list[str]:
        """Return the names of the datasets that have an epoch, sorted."""
        if not self._path.is_dir():
            return []
        return sorted(p.name for p in self._path.iterdir() if self._epochs(p.name))

    def open(self, name: str) -> Dataset:
        """Open the newest epoch of a dataset.

        Raises:
            ConfigError: there is none, or its manifest is not signed by this platform.
        """
        epochs = self._epochs(name)
        if not epochs:
            raise ConfigError(
                f"there is no dataset named {name!r}",
                mend="See `psishare dataset show`, or make it with `psishare dataset encode`.",
                reason="dataset_unknown",
            )
        return open_dataset(self._path / name / f"epoch-{epochs[-1]}", self._public_key)

    @contextmanager
    def encode(
        self,
        name: str,
        kind: str,
        namespace: str,
        batches: Iterable[pa.Array],
        *,
        parameters: Parameters,
        signer: Signer,
        progress: Progress,
    ) -> Iterator[NewEpoch]:
        """Make the next epoch of a dataset; it is there once the ``with`` block ends well.

        The block is for the log: the manifest is logged, and its entry noted, before the dataset
        can be served.

        Args:
            name: the dataset's name.
            kind: the identifiers' kind.
            namespace: their namespace, may be empty.
            batches: canonical identifiers, ``binary``, no nulls; read once.
            parameters: sizes and ruleset.
            signer: the platform's Ed25519 signer.
            progress: called with the number of identifiers evaluated.

        Yields:
            The epoch, whose entry in the log is to be noted.

        Raises:
            InputError: the name is not valid, or there are more items than ``n_max``.
            ConfigError: a file cannot be written.
        """
        require_name(name)
        epoch = (self._epochs(name) or [0])[-1] + 1
        key = new_key(DatasetName(name, kind, namespace, epoch))
        bits = fingerprint_bits(parameters.n_max, parameters.max_query)
        with self._staging(name, epoch) as folder:
            fingerprints = fingerprint_batches(batches, key, bits=bits, progress=progress)
            require_headroom(len(fingerprints), parameters.n_max)
            manifest = Manifest(
                platform=parameters.platform,
                dataset=name,
                kind=kind,
                namespace=namespace,
                epoch=epoch,
                ruleset=parameters.ruleset,
                public_key=key.public_key.hex(),
                items=len(fingerprints),
                n_max=parameters.n_max,
                max_query=parameters.max_query,
                fingerprint_bits=bits,
                shards=write_shards(fingerprints, folder),
                created=parameters.created,
            )
            yield NewEpoch(folder, _write_epoch(folder, manifest, key, signer))

    @contextmanager
    def _staging(self, name: str, epoch: int) -> Iterator[Path]:
        """Make a folder beside its place, and move it there if the block ends well."""
        home = self._path / name
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
        except OSError as error:
            raise _unwritable(home) from error
        try:
            yield folder
            os.rename(folder, home / f"epoch-{epoch}")  # noqa: PTH104  Path.rename would follow it
            sync_folder(home)
        except OSError as error:
            raise _unwritable(home) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _epochs(self, name: str) -> list[int]:
        folder = self._path / name
        if not NAME.fullmatch(name) or not folder.is_dir():
            return []
        found = (_EPOCH.fullmatch(p.name) for p in folder.iterdir())
        return sorted(int(match[1]) for match in found if match)


def open_dataset(folder: Path, public_key: bytes) -> Dataset:
    """Open one epoch's folder, as ``serve --dataset DIR`` names it.

    Raises:
        ConfigError: it is not a dataset's folder.
        VerificationError: the manifest is damaged or not signed with ``public_key``.
    """
    try:
        document = (folder / "manifest.json").read_bytes()
        signature = (folder / "manifest.sig").read_bytes()
        entry = int((folder / "entry").read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{folder} is not a dataset's folder",
            mend="Name a folder made by `psishare dataset encode`, such as datasets/NAME/epoch-1.",
            reason="dataset_unknown",
        ) from error
    manifest = parse_manifest(document)
    verify_statement(public_key, LABEL, document, signature, party=manifest.platform)
    return Dataset(folder, SignedManifest(manifest, document, signature), entry)


def require_name(name: str) -> None:
    """Refuse a name that could not be a dataset's (dataset.md, section 1).

    Raises:
        InputError: it has other characters, or is too long.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            "a dataset's name is 1 to 64 of a-z, 0-9, dot and hyphen, beginning with a letter or digit",
            mend="Choose such a name.",
            reason="dataset_name_invalid",
        )


def _write_epoch(
    folder: Path, manifest: Manifest, key: _native.OprfKey, signer: Signer
) -> SignedManifest:
    document = manifest.document()
    if len(document) > MAX_BYTES:
        raise InputError(
            "the dataset has too many shards for one manifest",
            mend="Split it into several datasets.",
            reason="over_n_max",
        )
    signed = SignedManifest(manifest, document, sign_statement(signer, LABEL, document))
    write_key_file(folder / "key.json", algorithm=KEY_ALGORITHM, secret=key.secret_bytes())
    write_durably(folder / "manifest.json", document, error=ConfigError)
    write_durably(folder / "manifest.sig", signed.signature, error=ConfigError)
    return signed


def _unwritable(folder: Path) -> ConfigError:
    return ConfigError(
        f"the dataset cannot be written under {folder}",
        mend="Check free space and permissions, then encode again.",
        reason="dataset_unwritable",
    )
