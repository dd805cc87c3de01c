"""A party's home folder: who it is, its keys, its card, and where everything else lies.

The folder is made whole or not at all, and is refused when anybody else could look into it.
Secrets are read when they are first needed, never before, and never printed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import tomllib
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from psishare.errors import ConfigError
from psishare.keys.durable_file import sync_folder, write_durably
from psishare.keys.lock import LOCK_FILE
from psishare.keys.note_key import NoteKey, NoteSigner, SignatureType
from psishare.keys.passphrase import given
from psishare.keys.signer import DeferredSigner
from psishare.keys.vault import Vault
from psishare.parties.card import Card, LogKeys, Role, TlsCertificates, parse_card, sign_card
from psishare.parties.field import DisplayName, PartyId, write_time
from psishare.parties.party_keys import (
    ED25519,
    LOG_USES,
    ML_DSA_44,
    PartyKeys,
    base64_text,
    make_party_keys,
)
from psishare.parties.settings import (
    PARTY_FILE,
    SETTINGS,
    MatchSettings,
    ServeSettings,
    not_toml,
    parse_settings,
)
from psishare.parties.tls import VALID_DAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from psishare.keys.passphrase import Passphrase, Source
    from psishare.keys.sealing import SealingKeys
    from psishare.keys.signer import Algorithm, Signer
    from psishare.parties.signer_choice import SignerChoice
    from psishare.parties.tls import TlsIdentity

HOME_VERSION = 1
FOLDER_MODE = 0o700
_EVERYONE_ELSE = 0o077
CARD_FILE = "card.json"
_FOLDERS = ("datasets", "exchanges", "keys", "mandates", "peers")
_KEYS_FOLDER = "keys"

_MIGRATIONS: Mapping[int, Callable[[Path], None]] = {}
"""From each older version of a home folder, the step to the next; it rewrites ``party.toml``."""


class _Party(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    version: Literal[1]
    id: PartyId
    role: Role
    display_name: DisplayName
    serve: ServeSettings | None = None
    match: MatchSettings | None = None


class Home:
    """A party's home folder. Make one with ``init``, use it with ``open``.

    Attributes:
        path: the folder.
        card: the party's own card.
        vault: reads and writes the home's key files.
    """

    def __init__(self, path: Path, card: Card, vault: Vault) -> None:
        self.path = path
        self.card = card
        self.vault = vault
        self._keys = PartyKeys(self.keys_path, card, vault)

    @classmethod
    def init(
        cls,
        path: Path,
        *,
        id: str,  # noqa: A002  the word that cards and mandates use
        role: str,
        display_name: str,
        passphrase: Passphrase | None = None,
        signers: Mapping[Algorithm, SignerChoice] | None = None,
        certificate_days: int = VALID_DAYS,
    ) -> Self:
        """Make a home folder with fresh keys and a card of serial 1.

        Args:
            path: where; nothing is there yet, or an empty folder.
            id: the party's id.
            role: ``platform``, ``authority``, ``issuer``, ``auditor``, ``witness`` or ``operator``.
            display_name: for people.
            passphrase: encrypts all keys that the home holds now or will hold; where None they lie in
                the clear, and permissions and the disk are all that guards them.
            signers: log keys that are not to lie in the home at all.
            certificate_days: how long the TLS certificate lasts.

        Raises:
            ConfigError: ``home_exists``; ``party_invalid``, id, role or name is not one;
                ``home_unwritable``; ``signer_unknown``, ``signer_failed``. Nothing that was there is touched and nothing is left behind.
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
            _build(building, party, passphrase, signers or {}, certificate_days)
            _move(building, path)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        return cls.open(path, passphrase=given(passphrase))

    @classmethod
    def open(cls, path: Path, *, passphrase: Source | None = None) -> Self:
        """Open a home folder, bringing one of an older version up to date.

        Args:
            path: the folder.
            passphrase: who is asked for the passphrase when the first secret is needed; where None,
                whoever the process is set up to ask (``psishare.keys.passphrase``).

        Raises:
            ConfigError: ``home_missing``; ``home_exposed`` or ``key_file_exposed``, others can use
                it; ``home_version``, of a newer psishare; ``home_invalid``.
        """
        path = path.absolute()
        _require_private(path)
        party = _read_party(path)
        card = parse_card(_read(path / CARD_FILE))
        if (card.id, card.role, card.display_name) != (party.id, party.role, party.display_name):
            raise _invalid(path, f"{PARTY_FILE} and the card tell of different parties")
        return cls(path, card, Vault(path / _KEYS_FOLDER, passphrase))

    @property
    def id(self) -> str:
        """The party's id."""
        return self.card.id

    @property
    def keys_path(self) -> Path:
        """The folder of the party's keys, and of their lock."""
        return self.path / _KEYS_FOLDER

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

    def exchange_path(self, exchange_id: bytes) -> Path:
        """The folder of one exchange, named by its id, 32 bytes."""
        return self.exchanges_path / exchange_id.hex()

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
        return _read(self.path / CARD_FILE)

    def unlock(self) -> None:
        """Open the home's lock, where it has one: ask for the passphrase now and not later.

        Raises:
            ConfigError: ``passphrase_missing``, ``passphrase_wrong``.
        """
        self.vault.unlock()

    def log_signer(self) -> Signer:
        """Return what signs with the pinned key: statements and mandates.

        Raises:
            ConfigError: ``key_file_exposed``, ``key_file_missing``, ``key_file_malformed``,
                ``key_mismatch``, it is not the card's; ``signer_failed``; or as ``unlock``.
        """
        return self._keys.log_signer

    def pq_signer(self) -> Signer:
        """Return what cosigns with the post-quantum key beside the pinned one.

        The two sign the log's checkpoints as well, until others follow them.

        Raises:
            ConfigError: as ``log_signer``.
        """
        return self._keys.pq_signer

    def checkpoint_signers(self, pair: Sequence[NoteKey]) -> tuple[NoteSigner, NoteSigner]:
        """Return what signs the log's checkpoints with a pair of keys; each is read when it first signs.

        Args:
            pair: verifier keys, Ed25519 and ML-DSA-44.
        """
        ed25519, ml_dsa_44 = (self._deferred(key) for key in pair)
        return ed25519, ml_dsa_44

    def _deferred(self, key: NoteKey) -> NoteSigner:
        algorithm = ML_DSA_44 if key.type is SignatureType.ML_DSA_44 else ED25519
        load: Callable[[], Signer] = cache(
            partial(self._keys.signer, LOG_USES[algorithm], algorithm, key.public_key)
        )
        if key in self.card.verifiers():
            # One signer for both uses of the first pair: it may be a session with a token.
            load = self.pq_signer if algorithm == ML_DSA_44 else self.log_signer
        return NoteSigner(self.id, key.type, DeferredSigner(algorithm, key.public_key, load))

    def sealing_key(self) -> SealingKeys:
        """Return the keys to which openings and case references are, or were, sealed.

        Raises:
            ConfigError: as ``log_signer``.
        """
        return self._keys.sealing_keys

    def tls_identity(self) -> TlsIdentity:
        """Return the current TLS certificate and its private key.

        Raises:
            ConfigError: as ``log_signer``; ``tls_key_invalid``.
        """
        return self._keys.tls_identity

    def check_keys(self) -> int:
        """Prove that every key file opens, and that the party's own keys are those of its card.

        Returns:
            How many key files there are.

        Raises:
            ConfigError: one does not, as ``log_signer`` says.
        """
        self.log_signer()
        self.pq_signer()
        self.check_checkpoint_keys()
        self.sealing_key()
        self.tls_identity()
        files = self.key_files()
        for file in files:
            self.vault.check(file)
        return len(files)

    def check_checkpoint_keys(self) -> None:
        """Prove that the keys that sign the log's checkpoints now are those of the card.

        Raises:
            ConfigError: as ``log_signer``.
        """
        terms = self.card.checkpoint_verifiers.terms
        for term in terms[-2:]:
            if term.last is None:
                for key in term.keys:
                    algorithm = ML_DSA_44 if key.type is SignatureType.ML_DSA_44 else ED25519
                    self._keys.signer(LOG_USES[algorithm], algorithm, key.public_key)

    def key_path(self, use: str, public: bytes) -> Path:
        """Return the file of the key of a use with this public part."""
        return self._keys.path(use, public)

    def reopened(self) -> Self:
        """Return this home with the card that lies in it now; it need not be unlocked again.

        Raises:
            ConfigError: as ``open``.
        """
        fresh = type(self).open(self.path)
        return type(self)(self.path, fresh.card, self.vault)

    def key_files(self) -> list[Path]:
        """Return every key file of the home, those of datasets included."""
        own = (file for file in self.keys_path.glob("*.json") if file.name != LOCK_FILE)
        return sorted([*own, *self.datasets_path.glob("*/*/key.json")])

    def __repr__(self) -> str:
        return f"Home({str(self.path)!r}, {self.card.id!r})"


def _build(
    folder: Path,
    party: _Party,
    passphrase: Passphrase | None,
    signers: Mapping[Algorithm, SignerChoice],
    certificate_days: int,
) -> None:
    """Fill a new folder with everything a party has on its first day, durably."""
    try:
        for name in _FOLDERS:
            (folder / name).mkdir(mode=FOLDER_MODE)
        _write_party(folder, party)
        keys = folder / _KEYS_FOLDER
        vault = Vault(keys) if passphrase is None else Vault.create(keys, passphrase)
        card = _make_keys(keys, party, vault, signers, certificate_days)
        write_durably(folder / CARD_FILE, card, error=ConfigError, reason="home_unwritable")
        for synced in (*(folder / name for name in _FOLDERS), folder):
            sync_folder(synced)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _make_keys(
    folder: Path,
    party: _Party,
    vault: Vault,
    signers: Mapping[Algorithm, SignerChoice],
    certificate_days: int,
) -> bytes:
    """Make the party's keys and return its signed card."""
    now = datetime.now(UTC)
    parts = make_party_keys(
        folder, party.id, vault, now=now, certificate_days=certificate_days, signers=signers
    )
    card = Card(
        version=1,
        id=party.id,
        display_name=party.display_name,
        role=party.role,
        log_keys=LogKeys(
            ed25519=NoteKey(party.id, SignatureType.ED25519, parts.signer.public_key).encode(),
            ml_dsa_44=NoteKey(party.id, SignatureType.ML_DSA_44, parts.ml_dsa_44).encode(),
        ),
        sealing_key=base64_text(parts.sealing_key),
        tls=TlsCertificates(current=base64_text(parts.certificate), next=None),
        serial=1,
        created=write_time(now),
    )
    return sign_card(card, parts.signer)


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
        if not (path / PARTY_FILE).is_file():
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
    for command in SETTINGS.keys() & fields.keys():
        parse_settings(path / PARTY_FILE, command, fields[command])
    try:
        return _Party.model_validate(fields)
    except ValidationError as error:
        keys = ", ".join(sorted({str(found["loc"][0]) for found in error.errors()}))
        raise _invalid(path, f"{PARTY_FILE} has keys missing, unknown or wrong: {keys}") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_read(path / PARTY_FILE).decode("utf-8"))
    except ValueError as error:
        raise not_toml(path / PARTY_FILE, error) from None


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
    write_durably(folder / PARTY_FILE, text.encode(), error=ConfigError, reason="home_unwritable")


def _valid_party(fields: dict[str, object]) -> _Party:
    try:
        return _Party.model_validate(fields)
    except ValidationError as error:
        wrong = ", ".join(sorted({str(found["loc"][0]) for found in error.errors()}))
        raise ConfigError(
            f"not a party: {wrong}",
            mend="An id is up to 64 of a-z, 0-9, `.`, `-`, `/`; a role is platform, authority,"
            " issuer, auditor, witness or operator; a name is up to 128 characters of plain text.",
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
