"""A party's home folder: who it is, its keys, its card, and where everything else lies.

The folder is made whole or not at all, and is refused when anybody else could look into it.
Secrets are read when they are first needed, never before, and never printed.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import tempfile
import tomllib
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from psishare.errors import ConfigError
from psishare.keys.durable_file import sync_folder, write_durably
from psishare.keys.key_file import read_key_file, write_key_file
from psishare.keys.note_key import NoteKey, SignatureType
from psishare.keys.sealing import SealingKey
from psishare.keys.signer import Ed25519Signer, MlDsa44Signer
from psishare.parties.card import Card, LogKeys, Role, TlsCertificates, parse_card, sign_card
from psishare.parties.field import DisplayName, PartyId, write_time
from psishare.parties.tls import (
    KEY_ALGORITHM,
    VALID_DAYS,
    TlsIdentity,
    make_certificate,
    make_identity,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HOME_VERSION = 1
FOLDER_MODE = 0o700
ED25519 = "ed25519"
ML_DSA_44 = "ml-dsa-44"
SEALING = "mlkem768-x25519"
_EVERYONE_ELSE = 0o077
_PARTY_FILE = "party.toml"
_CARD_FILE = "card.json"
_FOLDERS = ("datasets", "exchanges", "keys", "mandates", "peers")
_LOG_ED25519 = "keys/log_ed25519.json"
_LOG_ML_DSA_44 = "keys/log_ml_dsa_44.json"
_SEALING_KEY = "keys/sealing.json"
_TLS_KEY = "keys/tls.json"

_MIGRATIONS: Mapping[int, Callable[[Path], None]] = {}
"""From each older version of a home folder, the step to the next; it rewrites ``party.toml``."""


class _Party(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    version: Literal[1]
    id: PartyId
    role: Role
    display_name: DisplayName


class Home:
    """A party's home folder. Make one with ``init``, use it with ``open``.

    Attributes:
        path: the folder.
        card: the party's own card.
    """

    def __init__(self, path: Path, card: Card) -> None:
        self.path = path
        self.card = card

    @classmethod
    def init(
        cls,
        path: Path,
        *,
        id: str,  # noqa: A002  the word that cards and mandates use
        role: str,
        display_name: str,
        certificate_days: int = VALID_DAYS,
    ) -> Self:
        """Make a home folder with fresh keys and a card of serial 1.

        Args:
            path: where; nothing is there yet, or an empty folder.
            id: the party's id.
            role: ``platform``, ``authority``, ``issuer``, ``auditor`` or ``witness``.
            display_name: for people.
            certificate_days: how long the TLS certificate lasts.

        Raises:
            ConfigError: ``home_exists``; ``party_invalid``, id, role or name is not one;
                ``home_unwritable``. Nothing that was there is touched and nothing is left behind.
        """
        party = _valid_party(
            {"version": HOME_VERSION, "id": id, "role": role, "display_name": display_name}
        )
        path = path.absolute()
        _require_free(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            building = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        except OSError as error:
            raise _unwritable(path, error) from None
        try:
            _build(building, party, certificate_days)
            _move(building, path)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a home folder, bringing one of an older version up to date.

        Raises:
            ConfigError: ``home_missing``; ``home_exposed`` or ``key_file_exposed``, others can use
                it; ``home_version``, of a newer psishare; ``home_invalid``.
        """
        path = path.absolute()
        _require_private(path)
        party = _read_party(path)
        card = parse_card(_read(path / _CARD_FILE))
        if (card.id, card.role, card.display_name) != (party.id, party.role, party.display_name):
            raise _invalid(path, f"{_PARTY_FILE} and the card tell of different parties")
        return cls(path, card)

    @property
    def id(self) -> str:
        """The party's id."""
        return self.card.id

    @property
    def peers_path(self) -> Path:
        """The folder of the pinned peers."""
        return self.path / "peers"

    @property
    def mandates_path(self) -> Path:
        """The folder of mandates."""
        return self.path / "mandates"

    @property
    def datasets_path(self) -> Path:
        """The folder of datasets: a platform's own, an authority's copies."""
        return self.path / "datasets"

    @property
    def exchanges_path(self) -> Path:
        """The folder of openings and elements, one folder for each exchange."""
        return self.path / "exchanges"

    @property
    def log_path(self) -> Path:
        """Where the audit log lies or is to lie; ``init`` does not make it."""
        return self.path / "log"

    @property
    def state_path(self) -> Path:
        """The database of budgets and exchanges."""
        return self.path / "state.db"

    @property
    def policy_path(self) -> Path:
        """The platform's own rules; need not be there."""
        return self.path / "policy.toml"

    def export_card(self) -> bytes:
        """Return the card file for other parties."""
        return _read(self.path / _CARD_FILE)

    def log_signer(self) -> Ed25519Signer:
        """Return the pinned key, which signs statements, mandates and the log.

        Raises:
            ConfigError: ``key_file_exposed``, ``key_file_missing``, ``key_file_malformed``, or
                ``key_mismatch``, it is not the card's.
        """
        return self._log_signer

    def pq_signer(self) -> MlDsa44Signer:
        """Return the log's post-quantum key, which cosigns its checkpoints.

        Raises:
            ConfigError: as ``log_signer``.
        """
        return self._pq_signer

    def sealing_key(self) -> SealingKey:
        """Return the key to which openings and case references are sealed.

        Raises:
            ConfigError: as ``log_signer``.
        """
        return self._sealing_key

    def tls_identity(self) -> TlsIdentity:
        """Return the current TLS certificate and its private key.

        Raises:
            ConfigError: as ``log_signer``; ``tls_key_invalid``.
        """
        return self._tls_identity

    @cached_property
    def _log_signer(self) -> Ed25519Signer:
        signer = Ed25519Signer.from_secret_bytes(self._secret(_LOG_ED25519, ED25519))
        self._require_own(signer.public_key, self.card.log_key, _LOG_ED25519)
        return signer

    @cached_property
    def _pq_signer(self) -> MlDsa44Signer:
        signer = MlDsa44Signer.from_secret_bytes(self._secret(_LOG_ML_DSA_44, ML_DSA_44))
        _ed25519, ml_dsa_44 = self.card.verifiers()
        self._require_own(signer.public_key, ml_dsa_44.public_key, _LOG_ML_DSA_44)
        return signer

    @cached_property
    def _sealing_key(self) -> SealingKey:
        key = SealingKey.from_secret_bytes(self._secret(_SEALING_KEY, SEALING))
        self._require_own(key.public_key, self.card.sealing_key_bytes, _SEALING_KEY)
        return key

    @cached_property
    def _tls_identity(self) -> TlsIdentity:
        private = self._secret(_TLS_KEY, KEY_ALGORITHM)
        return make_identity(self.card.certificates()[0], private)

    def _secret(self, name: str, algorithm: str) -> bytes:
        return read_key_file(self.path / name, algorithm=algorithm)

    def _require_own(self, public_key: bytes, expected: bytes, name: str) -> None:
        if public_key != expected:
            raise ConfigError(
                f"{self.path / name} does not hold the key that the party's card names",
                mend="Restore the whole home folder from one backup.",
                reason="key_mismatch",
            )

    def __repr__(self) -> str:
        return f"Home({str(self.path)!r}, {self.card.id!r})"


def _build(folder: Path, party: _Party, certificate_days: int) -> None:
    """Fill a new folder with everything a party has on its first day, durably."""
    try:
        for name in _FOLDERS:
            (folder / name).mkdir(mode=FOLDER_MODE)
        _write_party(folder, party)
        card = _make_keys(folder, party, certificate_days)
        write_durably(folder / _CARD_FILE, card, error=ConfigError, reason="home_unwritable")
        for synced in (*(folder / name for name in _FOLDERS), folder):
            sync_folder(synced)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _make_keys(folder: Path, party: _Party, certificate_days: int) -> bytes:
    """Make the party's keys and return its signed card."""
    now = datetime.now(UTC)
    signer, pq_signer = Ed25519Signer.generate(), MlDsa44Signer.generate()
    sealing = SealingKey.generate()
    certificate, private = make_certificate(party.id, now=now, valid_days=certificate_days)
    for name, algorithm, secret in (
        (_LOG_ED25519, ED25519, signer.secret_bytes()),
        (_LOG_ML_DSA_44, ML_DSA_44, pq_signer.secret_bytes()),
        (_SEALING_KEY, SEALING, sealing.secret_bytes()),
        (_TLS_KEY, KEY_ALGORITHM, private),
    ):
        write_key_file(folder / name, algorithm=algorithm, secret=secret)
    card = Card(
        version=1,
        id=party.id,
        display_name=party.display_name,
        role=party.role,
        log_keys=LogKeys(
            ed25519=NoteKey(party.id, SignatureType.ED25519, signer.public_key).encode(),
            ml_dsa_44=NoteKey(party.id, SignatureType.ML_DSA_44, pq_signer.public_key).encode(),
        ),
        sealing_key=base64.b64encode(sealing.public_key).decode("ascii"),
        tls=TlsCertificates(current=base64.b64encode(certificate).decode("ascii"), next=None),
        serial=1,
        created=write_time(now),
    )
    return sign_card(card, signer)


def _move(building: Path, path: Path) -> None:
    """Give the finished folder its name; one that has come to be there meanwhile stays."""
    try:
        building.rename(path)
    except OSError as error:
        _require_free(path)
        raise _unwritable(path, error) from None
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None


def _require_free(path: Path) -> None:
    free = not os.path.lexists(path)
    with contextlib.suppress(OSError):
        free = free or not any(path.iterdir())
    if not free:
        raise ConfigError(
            f"{path} is there already",
            mend="Choose another folder; a home folder is never overwritten.",
            reason="home_exists",
        )


def _require_private(path: Path) -> None:
    try:
        status = path.stat()
        key_modes = [(file, file.lstat().st_mode) for file in (path / "keys").iterdir()]
        if not (path / _PARTY_FILE).is_file():
            raise FileNotFoundError
    except PermissionError:
        raise _exposed(path, "belongs to another user", "home_exposed") from None
    except OSError:
        raise ConfigError(
            f"there is no home folder of psishare at {path}",
            mend="Make one with `psishare party init`, or name the right one with --home.",
            reason="home_missing",
        ) from None
    if status.st_uid != os.geteuid():
        raise _exposed(path, "belongs to another user", "home_exposed")
    if status.st_mode & _EVERYONE_ELSE:
        raise _exposed(path, "can be used by other users of this machine", "home_exposed")
    for file, mode in key_modes:
        if mode & _EVERYONE_ELSE:
            raise _exposed(file, "can be used by other users of this machine", "key_file_exposed")


def _read_party(path: Path) -> _Party:
    fields = _read_toml(path)
    version = fields.get("version")
    if type(version) is int and version != HOME_VERSION:
        _migrate(path, version)
        fields = _read_toml(path)
    try:
        return _Party.model_validate(fields)
    except ValidationError as error:
        keys = ", ".join(sorted({str(found["loc"][0]) for found in error.errors()}))
        raise _invalid(path, f"{_PARTY_FILE} has keys missing, unknown or wrong: {keys}") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_read(path / _PARTY_FILE).decode("utf-8"))
    except ValueError:
        raise _invalid(path, f"{_PARTY_FILE} is not TOML") from None


def _migrate(path: Path, version: int) -> None:
    for step in range(version, HOME_VERSION):
        if step in _MIGRATIONS:
            _MIGRATIONS[step](path)
            version = step + 1
    if version != HOME_VERSION:
        raise ConfigError(
            f"{path} has format version {version}; this psishare reads {HOME_VERSION}",
            mend="Use the version of psishare that made it, or a newer one.",
            reason="home_version",
        )


def _write_party(folder: Path, party: _Party) -> None:
    # A display name holds no control character, so that only these two need an escape in TOML.
    name = party.display_name.replace("\\", "\\\\").replace('"', '\\"')
    text = (
        f"version = {party.version}\n"
        f'id = "{party.id}"\n'
        f'role = "{party.role}"\n'
        f'display_name = "{name}"\n'
    )
    write_durably(folder / _PARTY_FILE, text.encode(), error=ConfigError, reason="home_unwritable")


def _valid_party(fields: dict[str, object]) -> _Party:
    try:
        return _Party.model_validate(fields)
    except ValidationError as error:
        wrong = ", ".join(sorted({str(found["loc"][0]) for found in error.errors()}))
        raise ConfigError(
            f"not a party: {wrong}",
            mend="An id is up to 64 of a-z, 0-9, `.`, `-`, `/`; a role is platform, authority,"
            " issuer, auditor or witness; a name is up to 128 characters of plain text.",
            reason="party_invalid",
        ) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _invalid(path, error.strerror or "it cannot be read") from None


def _exposed(path: Path, fault: str, reason: str) -> ConfigError:
    return ConfigError(
        f"{path} {fault}",
        mend="Make it its owner's alone (mode 0700, key files 0600), run psishare as that user, and"
        " replace the keys if others have had access.",
        reason=reason,
    )


def _invalid(path: Path, fault: str) -> ConfigError:
    return ConfigError(
        f"the home folder is not as it must be: {path}: {fault}",
        mend="Restore it from a backup.",
        reason="home_invalid",
    )


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} cannot be made: {error.strerror or type(error).__name__}",
        mend="Check free space and permissions there.",
        reason="home_unwritable",
    )
