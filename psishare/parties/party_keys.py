"""The keys of a party, as its home holds them and its card names them.

The first key of a use is ``keys/<use>.json``; each later one has the first digits of a digest of its
public part in its name, so that the card alone decides which is in use: to change a key is to write a
file and then the card. A signing key may be elsewhere, behind a signer.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from psishare.errors import ConfigError
from psishare.keys.external_signer import ExternalSigner
from psishare.keys.sealing import SealingKey, SealingKeys
from psishare.keys.signer import Ed25519Signer, MlDsa44Signer
from psishare.parties.tls import KEY_ALGORITHM, TlsIdentity, make_certificate, make_identity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime
    from pathlib import Path

    from psishare.keys.signer import Algorithm, Signer
    from psishare.keys.vault import Vault
    from psishare.parties.card import Card
    from psishare.parties.signer_choice import SignerChoice

ED25519: Algorithm = "ed25519"
ML_DSA_44: Algorithm = "ml-dsa-44"
SEALING = "mlkem768-x25519"
LOG_ED25519_USE = "log_ed25519"
LOG_ML_DSA_44_USE = "log_ml_dsa_44"
LOG_USES: dict[Algorithm, str] = {ED25519: LOG_ED25519_USE, ML_DSA_44: LOG_ML_DSA_44_USE}
SEALING_USE = "sealing"
TLS_USE = "tls"
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class PublicParts:
    """What a new party's card says of its keys."""

    signer: Signer
    ml_dsa_44: bytes
    sealing_key: bytes
    certificate: bytes


class PartyKeys:
    """The secrets behind a card: read when they are first needed, held against the card.

    Args:
        folder: the home's ``keys``.
        card: names every key.
        vault: reads the files.
    """

    def __init__(self, folder: Path, card: Card, vault: Vault) -> None:
        self._folder = folder
        self._card = card
        self._vault = vault

    @cached_property
    def log_signer(self) -> Signer:
        """What signs with the pinned key."""
        return self.signer(LOG_ED25519_USE, ED25519, self._card.log_key)

    @cached_property
    def pq_signer(self) -> Signer:
        """What cosigns with the post-quantum key beside the pinned one."""
        _ed25519, ml_dsa_44 = self._card.verifiers()
        return self.signer(LOG_ML_DSA_44_USE, ML_DSA_44, ml_dsa_44.public_key)

    @cached_property
    def sealing_keys(self) -> SealingKeys:
        """The sealing key that the card names, and those before it."""
        public_key = self._card.sealing_key_bytes
        path = self.path(SEALING_USE, public_key)
        current = self._sealing_key(path)
        self._require_own(current.public_key, public_key, path)
        return SealingKeys(current, lambda: self._older_sealing_keys(path))

    @cached_property
    def tls_identity(self) -> TlsIdentity:
        """The current certificate and its key."""
        certificate = self._card.certificates()[0]
        private = self._vault.read(self.path(TLS_USE, certificate), algorithm=KEY_ALGORITHM)
        return make_identity(certificate, private)

    def path(self, use: str, public: bytes) -> Path:
        """Return the file of the key with this public part: its own name, or the first key's."""
        named = _named(self._folder, use, public)
        return named if os.path.lexists(named) else self._folder / f"{use}.json"

    def signer(self, use: str, algorithm: Algorithm, public_key: bytes) -> Signer:
        """Return what signs with the key of a use that has this public part.

        Raises:
            ConfigError: it cannot be read; ``key_mismatch``, it is another one.
        """
        path = self.path(use, public_key)
        signer = self._vault.signer(path, algorithm=algorithm)
        self._require_own(signer.public_key, public_key, path)
        return signer

    def _older_sealing_keys(self, current: Path) -> tuple[SealingKey, ...]:
        paths = sorted(self._folder.glob(f"{SEALING_USE}*.json"))
        return tuple(self._sealing_key(path) for path in paths if path != current)

    def _sealing_key(self, path: Path) -> SealingKey:
        return SealingKey.from_secret_bytes(self._vault.read(path, algorithm=SEALING))

    def _require_own(self, public_key: bytes, expected: bytes, path: Path) -> None:
        if public_key != expected:
            raise ConfigError(
                f"{path} does not hold the key that the party's card names",
                mend="Restore the whole home folder from one backup.",
                reason="key_mismatch",
            )


def make_party_keys(
    folder: Path,
    party_id: str,
    vault: Vault,
    *,
    now: datetime,
    certificate_days: int,
    signers: Mapping[Algorithm, SignerChoice],
) -> PublicParts:
    """Make the keys of a new party, and return what its card says of them.

    Args:
        folder: the home's ``keys``, empty but for a lock.
        party_id: whose they are.
        vault: writes the files.
        now: with a time zone.
        certificate_days: how long the TLS certificate lasts.
        signers: log keys that are elsewhere.

    Raises:
        ConfigError: a file cannot be written, or a signer fails.
    """
    log_signer = _log_key(folder / f"{LOG_ED25519_USE}.json", ED25519, vault, signers)
    pq_signer = _log_key(folder / f"{LOG_ML_DSA_44_USE}.json", ML_DSA_44, vault, signers)
    sealing = SealingKey.generate()
    certificate, private = make_certificate(party_id, now=now, valid_days=certificate_days)
    secret = sealing.secret_bytes()
    vault.write(folder / f"{SEALING_USE}.json", algorithm=SEALING, secret=secret)
    vault.write(folder / f"{TLS_USE}.json", algorithm=KEY_ALGORITHM, secret=private)
    return PublicParts(log_signer, pq_signer.public_key, sealing.public_key, certificate)


def write_later_key(
    folder: Path, use: str, vault: Vault, *, algorithm: str, public: bytes, secret: bytes
) -> None:
    """Write the file of a key that is to follow another one of its use.

    Raises:
        ConfigError: it cannot be written.
    """
    vault.write(_named(folder, use, public), algorithm=algorithm, secret=secret)


def write_later_log_key(
    folder: Path,
    algorithm: Algorithm,
    vault: Vault,
    choice: SignerChoice | None,
    *,
    used: Collection[bytes],
) -> bytes:
    """Make a log key that is to follow another one, here or elsewhere, and return its public part.

    Args:
        folder: the home's ``keys``.
        algorithm: which of the pair.
        vault: writes the file.
        choice: the signer that keeps it; None for one in the home.
        used: public parts of the keys that have signed for the log.

    Raises:
        ConfigError: ``log_key_reused``, the signer's key is one of those; a file cannot be written;
            ``signer_unknown``, ``signer_failed``.
    """
    use = LOG_USES[algorithm]
    if choice is None:
        made = _generate(algorithm)
        write_later_key(
            folder,
            use,
            vault,
            algorithm=algorithm,
            public=made.public_key,
            secret=made.secret_bytes(),
        )
        return made.public_key
    public = ExternalSigner.load(choice.name, choice.settings, algorithm=algorithm).public_key
    if public in used:
        raise ConfigError(
            f"the {algorithm} key behind the signer {choice.name} has signed for the log already",
            mend="Let the signer use a key that is new, and give the command again.",
            reason="log_key_reused",
        )
    path = _named(folder, use, public)
    vault.entrust(path, algorithm=algorithm, signer=choice.name, settings=choice.settings)
    return public


def _generate(algorithm: Algorithm) -> Ed25519Signer | MlDsa44Signer:
    return Ed25519Signer.generate() if algorithm == ED25519 else MlDsa44Signer.generate()


def base64_text(data: bytes) -> str:
    """Return bytes as a card writes them."""
    return base64.b64encode(data).decode("ascii")


def _log_key(
    path: Path, algorithm: Algorithm, vault: Vault, signers: Mapping[Algorithm, SignerChoice]
) -> Signer:
    choice = signers.get(algorithm)
    if choice is not None:
        return vault.entrust(
            path, algorithm=algorithm, signer=choice.name, settings=choice.settings
        )
    made = _generate(algorithm)
    vault.write(path, algorithm=algorithm, secret=made.secret_bytes())
    return made


def _named(folder: Path, use: str, public: bytes) -> Path:
    return folder / f"{use}-{hashlib.sha256(public).hexdigest()[:_DIGITS]}.json"
