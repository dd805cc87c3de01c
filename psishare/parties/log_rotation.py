"""The home's part in a rotation of its log's keys: the pair to come, and the card that names what the log says.

The pair is made, named in a file and tried first; the log's entry, which decides, comes after that; then the
card. Whoever is cut off in between starts again: a pair that the log names is used, any other is discarded.
Source: protocols/specs/card.md, section 10.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from psishare.errors import ConfigError, PsishareError, VerificationError
from psishare.keys import canonical
from psishare.keys.durable_file import sync_folder, write_durably
from psishare.keys.log_keys import LogKeys
from psishare.keys.note_key import NoteKey, SignatureType
from psishare.keys.statement import statement_message
from psishare.parties.card_change import destroy_key, replace_card
from psishare.parties.party_keys import (
    ED25519,
    LOG_USES,
    ML_DSA_44,
    base64_text,
    write_later_log_key,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from psishare.keys.log_keys import KeyTerm
    from psishare.keys.note_key import NoteSigner
    from psishare.keys.signer import Algorithm
    from psishare.parties.home import Home
    from psishare.parties.signer_choice import SignerChoice

NEXT_FILE = "next_log_keys.json"
MAX_BYTES = 16 * 1024
TRIAL_LABEL = "log-keys-trial"
TRIAL_BYTES = 32


class _NextFile(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    version: Literal[1]
    ed25519: str
    ml_dsa_44: str


def key_pairs(home: Home) -> list[tuple[NoteKey, ...]]:
    """Return every pair that signs the log's checkpoints, did so, or is about to, in their order.

    Args:
        home: whose files may change meanwhile; its card is read anew.

    Raises:
        ConfigError: ``home_invalid``, or the home does not open.
    """
    # The card takes a pair over before its file goes: read in this order, one of the two names it.
    coming = _next_pair(home)
    pairs = [term.keys for term in home.reopened().card.checkpoint_verifiers.terms]
    return pairs if coming is None or coming in pairs else [*pairs, coming]


def prepare_next_pair(home: Home, signers: Mapping[Algorithm, SignerChoice]) -> tuple[NoteKey, ...]:
    """Make the pair of keys that is to follow, and have each of them sign once.

    What a rotation left that was cut off before its entry is destroyed: it may have been made with other
    signers.

    Args:
        home: under its lock; its card names the pairs that its log does, and no pair was made since.
        signers: keys that are not to lie in the home.

    Raises:
        ConfigError: as ``write_later_log_key``; ``home_invalid``, ``home_unwritable``; ``signer_failed``, one
            of them does not sign, and nothing of the pair is left.
    """
    _discard_next(home)
    try:
        pair = _make_pair(home, signers)
        _require_signing(home.checkpoint_signers(pair))
    except PsishareError:
        # In the log such a pair would keep everything after it from being signed.
        _discard_next(home)
        raise
    return pair


def _make_pair(home: Home, signers: Mapping[Algorithm, SignerChoice]) -> tuple[NoteKey, ...]:
    algorithms: tuple[Algorithm, Algorithm] = (ED25519, ML_DSA_44)
    used = {key.public_key for term in home.card.checkpoint_verifiers.terms for key in term.keys}
    public = [
        write_later_log_key(home.keys_path, each, home.vault, signers.get(each), used=used)
        for each in algorithms
    ]
    pair = (
        NoteKey(home.id, SignatureType.ED25519, public[0]),
        NoteKey(home.id, SignatureType.ML_DSA_44, public[1]),
    )
    document = _NextFile(version=1, ed25519=pair[0].encode(), ml_dsa_44=pair[1].encode())
    data = canonical.dumps(document.model_dump())
    write_durably(home.path / NEXT_FILE, data, error=ConfigError, reason="home_unwritable")
    return pair


def adopt_log_keys(home: Home, keys: LogKeys, published: int) -> Home:
    """Let the card name the pairs that the log tells of, and destroy those that sign no more.

    Args:
        home: under its lock.
        keys: as the log's own entries have them.
        published: the largest serial of a card that they name.

    Returns:
        The home, with a new card where its old one told of others.

    Raises:
        ConfigError: ``home_unwritable``: call again.
        VerificationError: ``log_keys_differ``: the log contradicts the card.
    """
    known = home.card.checkpoint_verifiers
    if keys != known:
        known.require_kept_by(keys)
        named = [_document(term) for term in keys.terms]
        home = replace_card(
            home, datetime.now(UTC), published=published, version=2, checkpoint_keys=named
        )
    if _next_pair(home) in [term.keys for term in keys.terms]:
        (home.path / NEXT_FILE).unlink(missing_ok=True)
        sync_folder(home.path)
    for term in keys.terms[1:]:
        if term.last is not None:
            _destroy(home, term.keys)
    return home


def stray_key_files(home: Home, keys: LogKeys) -> list[Path]:
    """Return the files of keys that followed the log's first ones, and are of no pair that signs or is about to.

    Args:
        home: whose card may be behind its log.
        keys: as the log's own entries have them.

    Raises:
        ConfigError: ``home_invalid``.
    """
    signing = [term.keys for term in keys.terms if term.last is None]
    coming = _next_pair(home)
    pairs = signing if coming is None else [*signing, coming]
    kept = {path for pair in pairs for path in _key_files(home, pair)}
    later = (path for use in LOG_USES.values() for path in home.keys_path.glob(f"{use}-*.json"))
    return sorted(path for path in later if path not in kept)


def _require_signing(signers: Sequence[NoteSigner]) -> None:
    message = statement_message(TRIAL_LABEL, secrets.token_bytes(TRIAL_BYTES))
    for signer in signers:
        signer.key.verify(message, signer.sign(message))


def _discard_next(home: Home) -> None:
    """Destroy what was made for a rotation and that the log does not name, whether a file names it or not."""
    if _next_pair(home) is not None:
        (home.path / NEXT_FILE).unlink()
        sync_folder(home.path)
    for path in stray_key_files(home, home.card.checkpoint_verifiers):
        destroy_key(path)


def _destroy(home: Home, pair: Sequence[NoteKey]) -> None:
    for path in _key_files(home, pair):
        destroy_key(path)


def _key_files(home: Home, pair: Sequence[NoteKey]) -> list[Path]:
    """Return a pair's own files, as far as they are there; never the first pair's, which sign other things."""
    uses = (LOG_USES[ED25519], LOG_USES[ML_DSA_44])
    paths = [home.key_path(use, key.public_key) for use, key in zip(uses, pair, strict=True)]
    return [path for use, path in zip(uses, paths, strict=True) if path.name != f"{use}.json"]


def _next_pair(home: Home) -> tuple[NoteKey, ...] | None:
    path: Path = home.path / NEXT_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _invalid(path, error.strerror or "it cannot be read") from None
    try:
        fields = canonical.loads(data, max_bytes=MAX_BYTES, what="the file")
        file = _NextFile.model_validate(fields)
        pair = (NoteKey.parse(file.ed25519), NoteKey.parse(file.ml_dsa_44))
        LogKeys.of(pair)
    except (ValidationError, VerificationError):
        raise _invalid(path, "it does not have the fields of a pair of keys") from None
    if pair[0].name != home.id:
        raise _invalid(path, "it is another party's")
    return pair


def _document(term: KeyTerm) -> dict[str, object]:
    ed25519, ml_dsa_44 = _texts(term.keys)
    handover = term.handover and {
        "ed25519": base64_text(term.handover.ed25519),
        "ml_dsa_44": base64_text(term.handover.ml_dsa_44),
    }
    sizes = {"first": term.first, "last": term.last}
    return {"ed25519": ed25519, "ml_dsa_44": ml_dsa_44, **sizes, "handover": handover}


def _texts(keys: Sequence[NoteKey]) -> list[str]:
    return [key.encode() for key in keys]


def _invalid(path: Path, fault: str) -> ConfigError:
    return ConfigError(
        f"the home folder is not as it must be: {path}: {fault}",
        mend="Restore it from a backup.",
        reason="home_invalid",
    )
