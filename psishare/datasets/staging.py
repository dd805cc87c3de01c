"""The folder in which an epoch is made, with its key; an interrupted encoding finds it again."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from psishare import _native
from psishare.datasets.dataset import KEY_ALGORITHM, KEY_FILE
from psishare.datasets.encode import DatasetName, new_key
from psishare.errors import ConfigError, InputError
from psishare.keys import canonical
from psishare.keys.durable_file import sync_folder, write_durably

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psishare.keys.vault import Vault

_FOLDER = ".encoding"
_PLAN_FILE = "plan.json"


@dataclass(frozen=True, slots=True)
class Staging:
    """An epoch that is being made.

    Attributes:
        folder: where its files are written; it becomes the epoch's folder.
        key: the epoch's key, which is on the disk already.
    """

    folder: Path
    key: _native.OprfKey

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, home: Path, name: DatasetName, plan: dict[str, Any], vault: Vault
    ) -> Iterator[Self]:
        """Take up the encoding that was interrupted, if it had the same plan; or begin anew.

        What is left when the ``with`` block fails stays for the next try, unless the plan's source is
        None: such an input cannot be read again.

        Args:
            home: the dataset's folder, locked.
            name: what the key is bound to.
            plan: what has to be the same for runs to be used again.
            vault: writes and reads the key's file.

        Raises:
            ConfigError: the key's file cannot be written or read.
            OSError: the disk refuses.
        """
        folder = home / _FOLDER
        document = canonical.dumps(plan | {"epoch": name.epoch})
        if plan["source"] is None or not _is_planned(folder, document):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            _write_key(folder, name, vault)
            # The plan comes last: where it is, the key is durable, and runs may be made with it.
            write_durably(folder / _PLAN_FILE, document, error=ConfigError)
        secret = vault.read(folder / KEY_FILE, algorithm=KEY_ALGORITHM)
        try:
            yield cls(folder, _native.OprfKey.from_secret_bytes(secret))
        finally:
            if plan["source"] is None:
                shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def discarded_if_refused(self) -> Iterator[None]:
        """Remove everything where the input turns out to be unfit: no other try will mend that."""
        try:
            yield
        except InputError:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def move_to(self, place: Path) -> None:
        """Make the folder the epoch's.

        Raises:
            OSError: the disk refuses.
        """
        (self.folder / _PLAN_FILE).unlink()
        os.rename(self.folder, place)  # noqa: PTH104  Path.rename would follow it
        sync_folder(place.parent)


def _is_planned(folder: Path, document: bytes) -> bool:
    try:
        return (folder / _PLAN_FILE).read_bytes() == document
    except FileNotFoundError:
        return False


def _write_key(folder: Path, name: DatasetName, vault: Vault) -> None:
    secret = new_key(name).secret_bytes()
    vault.write(folder / KEY_FILE, algorithm=KEY_ALGORITHM, secret=secret)
