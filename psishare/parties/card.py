"""The card: a party's public identity document, signed by the key that it pins.

Source: protocols/specs/card.md.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from psishare.errors import ConfigError, VerificationError
from psishare.keys import canonical
from psishare.keys.handover import Handover
from psishare.keys.log_keys import MAX_PAIRS, KeyTerm
from psishare.keys.log_keys import LogKeys as KeysOfLog
from psishare.keys.note_key import NoteKey, SignatureType
from psishare.keys.sealing import require_sealing_key
from psishare.keys.statement import sign_statement, verify_statement
from psishare.parties.field import Base64, DisplayName, PartyId, Serial, Time
from psishare.parties.fingerprint import fingerprint
from psishare.parties.tls import require_certificate

if TYPE_CHECKING:
    from psishare.keys.signer import Signer

CARD_LABEL = "card"
OFFLINE_END_LABEL = b"psishare/offline-end/v1"
OFFLINE_END_PREFIX = bytes(16)
"""No digest of a certificate begins so, but once in 2^128: an offer shows how it travelled."""
MAX_BYTES = 64 * 1024

Size = Annotated[int, Field(ge=0, le=canonical.MAX_INTEGER)]
Role = Literal["platform", "authority", "issuer", "auditor", "witness", "operator"]


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class LogKeys(_Fields):
    """The C2SP verifier keys of a party's log; the first is the pin."""

    ed25519: str
    ml_dsa_44: str


class HandoverSignatures(_Fields):
    """The signatures by which the pair before it names a pair of keys of the log's checkpoints."""

    ed25519: Base64
    ml_dsa_44: Base64

    def handover(self) -> Handover:
        """Return them as a verifier takes them."""
        return Handover(base64.b64decode(self.ed25519), base64.b64decode(self.ml_dsa_44))


class CheckpointKeys(LogKeys):
    """One pair of keys of the log's checkpoints, and the tree sizes at which it counts."""

    first: Size
    last: Size | None
    handover: HandoverSignatures | None

    def term(self) -> KeyTerm:
        """Return it as a verifier takes it."""
        keys = _note_key(self.ed25519), _note_key(self.ml_dsa_44)
        return KeyTerm(
            keys, self.first, self.last, None if self.handover is None else self.handover.handover()
        )


class TlsCertificates(_Fields):
    """The certificates that a party presents now and next; base64 of DER."""

    current: Base64
    next: Base64 | None


CheckpointKeysOfVersion2 = Annotated[
    tuple[CheckpointKeys, ...], Field(strict=False, min_length=2, max_length=MAX_PAIRS)
]


class Card(_Fields):
    """Who a party is and which keys are its own, version 1 or 2; the fields of the specification."""

    version: Literal[1, 2]
    id: PartyId
    display_name: DisplayName
    role: Role
    log_keys: LogKeys
    sealing_key: Base64
    tls: TlsCertificates
    serial: Serial
    created: Time
    checkpoint_keys: CheckpointKeysOfVersion2 | None = None

    def fields(self) -> dict[str, Any]:
        """Return what the card's document holds: ``checkpoint_keys`` in version 2 alone."""
        without = {"checkpoint_keys"} if self.checkpoint_keys is None else None
        return self.model_dump(mode="json", exclude=without)

    def document(self) -> bytes:
        """Return the canonical bytes, which are what is signed and digested."""
        return canonical.dumps(self.fields())

    @property
    def sha256(self) -> bytes:
        """The SHA-256 of the canonical bytes, 32 bytes."""
        return hashlib.sha256(self.document()).digest()

    @property
    def log_key(self) -> bytes:
        """The pinned Ed25519 public key, 32 bytes: statements, mandates and the log."""
        return _note_key(self.log_keys.ed25519).public_key

    @property
    def sealing_key_bytes(self) -> bytes:
        """The HPKE public key (MLKEM768-X25519), 1,216 bytes."""
        return base64.b64decode(self.sealing_key)

    def verifiers(self) -> tuple[NoteKey, NoteKey]:
        """Return the two verifier keys with which the log began: Ed25519 (0x01), ML-DSA-44 (0x06)."""
        return _note_key(self.log_keys.ed25519), _note_key(self.log_keys.ml_dsa_44)

    @cached_property
    def checkpoint_verifiers(self) -> KeysOfLog:
        """What the card tells of the keys that sign the log's checkpoints, each with its tree sizes."""
        if self.checkpoint_keys is None:
            return KeysOfLog.of(self.verifiers())
        return KeysOfLog(tuple(keys.term() for keys in self.checkpoint_keys))

    def cosigner_keys(self) -> tuple[NoteKey, NoteKey]:
        """Return the keys with which the party cosigns others' checkpoints: types 0x04 and 0x06."""
        ed25519 = NoteKey(self.id, SignatureType.ED25519_COSIGNATURE, self.log_key)
        return ed25519, self.verifiers()[1]

    def certificates(self) -> tuple[bytes, ...]:
        """Return the certificates in DER: the current one and, where there is one, the next."""
        return tuple(
            base64.b64decode(encoded)
            for encoded in (self.tls.current, self.tls.next)
            if encoded is not None
        )

    def certificate_digests(self) -> tuple[bytes, ...]:
        """Return the SHA-256 of each certificate in DER, 32 bytes each, in the same order."""
        return tuple(hashlib.sha256(der).digest() for der in self.certificates())

    @property
    def offline_end(self) -> bytes:
        """What stands for a certificate across an air gap, 32 bytes (offline.md, section 4)."""
        digest = hashlib.sha256(OFFLINE_END_LABEL + b"\x00" + self.sealing_key_bytes).digest()
        return OFFLINE_END_PREFIX + digest[: 32 - len(OFFLINE_END_PREFIX)]

    def fingerprint(self) -> str:
        """Return the pinned key's fingerprint: twelve words joined by hyphens."""
        return fingerprint(self.log_key)


@lru_cache(128)
def _note_key(text: str) -> NoteKey:
    """Return a verifier key, parsed once however often its card is asked."""
    return NoteKey.parse(text)


def sign_card(card: Card, signer: Signer) -> bytes:
    """Sign a card and return the card file's bytes.

    Args:
        card: complete.
        signer: the party's Ed25519 log key.

    Raises:
        ConfigError: ``card_malformed``, the card would not be read by others, or the key is not
            the card's.
    """
    _require_consistent(card)
    if signer.public_key != card.log_key:
        raise _malformed("is to be signed by another key than the one that it pins")
    signature = sign_statement(signer, CARD_LABEL, card.document())
    return canonical.dumps(
        {
            "card": card.fields(),
            "signature": base64.b64encode(signature).decode("ascii"),
        }
    )


def parse_card(data: bytes) -> Card:
    """Parse a card file strictly and verify its signature.

    Whether the key that it pins is the right one is for ``require_fingerprint`` or a known card to
    say.

    Raises:
        ConfigError: ``card_malformed``, ``card_version``, ``certificate_invalid`` or
            ``card_signature_invalid``.
    """
    try:
        fields = canonical.loads(data, max_bytes=MAX_BYTES, what="the card")
    except VerificationError as error:
        raise _malformed(error.message.removeprefix("the card ")) from None
    document, encoded = fields.get("card"), fields.get("signature")
    if fields.keys() != {"card", "signature"} or not isinstance(document, dict):
        raise _malformed("does not have the fields of a card file")
    if document.get("version") not in (1, 2):
        raise ConfigError(
            "the card's version is not one that this psishare reads",
            mend="Use the same version of psishare on both sides.",
            reason="card_version",
        )
    card = _parse_fields(document)
    if card.document() != canonical.dumps(document):
        raise _malformed("holds a field that is not in its canonical form")
    _require_consistent(card)
    _verify(card, encoded)
    return card


def replaces(known: Card, new: Card) -> bool:
    """Tell whether a new card of a known party replaces the known one.

    Returns:
        True where its serial is higher under the same pinned key; False where it is the same card.

    Raises:
        ConfigError: ``card_changed``, another key, or other contents without a higher serial.
    """
    if known.id != new.id:
        raise _changed(known, f"is of another party, {new.id}")
    if known.log_key != new.log_key:
        raise _changed(known, "pins another key")
    if known.document() == new.document():
        return False
    if new.serial <= known.serial:
        raise _changed(known, "differs, but its serial is not higher")
    try:
        known.checkpoint_verifiers.require_kept_by(new.checkpoint_verifiers)
    except VerificationError:
        raise _changed(known, "tells another past of its log's keys") from None
    return True


def _parse_fields(document: dict[str, object]) -> Card:
    try:
        return Card.model_validate(document)
    except ValidationError as error:
        known = Card.model_fields
        names = {str(found["loc"][0]) for found in error.errors()}
        fields = sorted(name if name in known else "(unknown)" for name in names)
        raise _malformed(f"has fields missing, unknown or wrong: {', '.join(fields)}") from None


def _require_consistent(card: Card) -> None:
    """Check what no field can tell alone: names in keys and certificates are the card's id."""
    try:
        keys = card.verifiers()
        require_sealing_key(card.sealing_key_bytes)
    except VerificationError as error:
        raise _malformed(f"holds a bad key: {error.message}") from None
    if any(key.name != card.id for key in keys):
        raise _malformed("holds a log key of another name")
    if [key.type for key in keys] != [SignatureType.ED25519, SignatureType.ML_DSA_44]:
        raise _malformed("holds log keys of other types than Ed25519 and ML-DSA-44")
    _require_checkpoint_keys(card)
    certificates = card.certificates()
    if len(set(certificates)) != len(certificates):
        raise _malformed("holds one certificate as current and as next")
    for certificate in certificates:
        require_certificate(certificate, card.id)


def _require_checkpoint_keys(card: Card) -> None:
    """Check that pairs of keys that followed others are told in version 2 alone, and can be."""
    if (card.version == 2) != (card.checkpoint_keys is not None):
        raise _malformed("tells of rotated keys in version 1, or of none in version 2")
    try:
        terms = card.checkpoint_verifiers.terms
        for old, new in itertools.pairwise(terms):
            _require_handover(old, new)
    except VerificationError as error:
        raise _malformed(f"is wrong about its log's keys: {error.message}") from None
    if terms[0].keys != card.verifiers() or terms[0].handover is not None:
        raise _malformed("has other keys at its log's beginning than its own")


def _require_handover(old: KeyTerm, new: KeyTerm) -> None:
    """Require both of a pair's keys to have named the next: the pinned key alone cannot."""
    if new.handover is None:
        raise _malformed("names keys of its log that the ones before them did not hand over to")
    new.handover.verify(old.keys, new.keys)


def _verify(card: Card, encoded: object) -> None:
    try:
        signature = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else b""
        if base64.b64encode(signature).decode("ascii") != encoded:
            raise _malformed("has a signature that is not canonical base64")
        verify_statement(card.log_key, CARD_LABEL, card.document(), signature, party=card.id)
    except ValueError:
        raise _malformed("has a signature that is not base64") from None
    except VerificationError:
        raise ConfigError(
            f"the card of {card.id} is not signed by the key that it pins",
            mend="Do not use it; ask its owner for the file again.",
            reason="card_signature_invalid",
            party=card.id,
        ) from None


def _malformed(fault: str) -> ConfigError:
    return ConfigError(
        f"the card {fault}",
        mend="Ask its owner for the file as `psishare party export` wrote it.",
        reason="card_malformed",
    )


def _changed(known: Card, fault: str) -> ConfigError:
    return ConfigError(
        f"the new card of {known.id} {fault}",
        mend="Ask the party by a way that you trust. If its key really changed, remove the peer and"
        " add it again with the new fingerprint.",
        reason="card_changed",
        party=known.id,
    )
