"""The entries of the log: every type, field by field (protocols/specs/audit-log.md, section 4).

An entry is canonical JSON with ``type``, ``time``, ``salt`` and the fields of its type, no more and no
fewer. It never holds an identifier, a fingerprint, an element or a PRF output. The salt keeps whoever
holds a proof from guessing the leaves beside it.
"""

from __future__ import annotations

import binascii
import re
import secrets
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError

from psishare.audit.tile import MAX_ENTRY_BYTES
from psishare.errors import AuditError, VerificationError
from psishare.keys import canonical
from psishare.keys.canonical_model import CanonicalModel
from psishare.keys.handover import Handover
from psishare.keys.note_key import MAX_VERIFIER_KEY_CHARACTERS
from psishare.keys.signer import ML_DSA_44_SIGNATURE_BYTES

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
SALT_BYTES = 16
_ENVELOPE = frozenset({"type", "time", "salt"})


@lru_cache(1024)
def _require_time(text: str) -> str:
    date = int(text[0:4]), int(text[5:7]), int(text[8:10])
    datetime(*date, int(text[11:13]), int(text[14:16]), int(text[17:19]), tzinfo=UTC)
    return text


@lru_cache(16)
def signed_bytes(text: str) -> bytes:
    """Return the bytes of a document or signature that an entry holds, of which base64 has one spelling.

    Kept for a moment, because whoever parses an entry looks at what it holds next.

    Raises:
        ValueError: it is not base64 in that spelling.
    """
    try:
        data = binascii.a2b_base64(text)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if binascii.b2a_base64(data, newline=False).decode("ascii") != text:
        raise ValueError("irregular base64")
    return data


def _require_base64(text: str) -> str:
    signed_bytes(text)
    return text


def _require_signature(text: str) -> str:
    if len(signed_bytes(text)) != 64:
        raise ValueError("not a signature")
    return text


def _require_pq_signature(text: str) -> str:
    if len(signed_bytes(text)) != ML_DSA_44_SIGNATURE_BYTES:
        raise ValueError("not a signature")
    return text


def _require_sorted(words: tuple[str, ...]) -> tuple[str, ...]:
    if list(words) != sorted(set(words)):
        raise ValueError("not sorted, or something twice")
    return words


Time = Annotated[
    str,
    # Not \d: that is every digit of Unicode.
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
    AfterValidator(_require_time),
]
Salt = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PartyId = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9./-]{0,62}[a-z0-9])?$")]
Role = Literal["platform", "authority", "issuer", "auditor", "witness", "operator"]
MandateId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{16,64}$")]
DatasetName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
Kind = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9./-]{0,64}$")]
Protocol = Literal["oprf", "ecdh", "openmined"]
Output = Literal["matches", "count", "both"]
Reason = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Count = Annotated[int, Field(ge=0, le=canonical.MAX_INTEGER)]
Positive = Annotated[int, Field(ge=1, le=canonical.MAX_INTEGER)]
Document = Annotated[str, AfterValidator(_require_base64)]
VerifierKey = Annotated[str, Field(min_length=1, max_length=MAX_VERIFIER_KEY_CHARACTERS)]
Signature = Annotated[str, AfterValidator(_require_signature)]
PqSignature = Annotated[str, AfterValidator(_require_pq_signature)]
Trust = Annotated[
    tuple[Literal["approver", "issuer", "validator"], ...],
    Field(strict=False),
    AfterValidator(_require_sorted),
]


def _now() -> str:
    return datetime.now(UTC).strftime(TIME_FORMAT)


def _new_salt() -> str:
    return secrets.token_hex(SALT_BYTES)


class Entry(CanonicalModel):
    """What every entry has. Time and salt are made with it unless given."""

    type: str
    time: Time = Field(default_factory=_now)
    salt: Salt = Field(default_factory=_new_salt)

    def encode(self) -> bytes:
        """Return the entry's bytes, which are what the log holds and hashes.

        Raises:
            AuditError: more than 65,535 bytes.
        """
        data = self.canonical_bytes()
        if len(data) > MAX_ENTRY_BYTES:
            raise AuditError(
                f"an entry of type {self.type} has {len(data)} bytes; the log takes {MAX_ENTRY_BYTES}",
                mend="Shorten the document that it carries.",
                reason="entry_too_long",
            )
        return data

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the entry's own type, as they stand in its JSON."""
        return self.model_dump(mode="json", exclude=set(_ENVELOPE))


class LogCreated(Entry):
    """The first entry of every log, and of no other place in it."""

    type: Literal["log.created"] = "log.created"
    party: PartyId
    role: Role
    card_sha256: Digest


class CardChanged(Entry):
    """The party has a new card."""

    type: Literal["card.changed"] = "card.changed"
    party: PartyId
    serial: Positive
    card_sha256: Digest


class PartySucceeded(Entry):
    """The party vouches for another one that is to follow it."""

    type: Literal["party.succeeded"] = "party.succeeded"
    party: PartyId
    successor: PartyId
    card_sha256: Digest


class LogKeyPair(CanonicalModel):
    """Two verifier keys under a log's origin; that they are is for ``KeyHistory`` to say."""

    ed25519: VerifierKey
    ml_dsa_44: VerifierKey


class HandoverSignatures(CanonicalModel):
    """The two signatures by which a pair names the one that follows it."""

    ed25519: Signature
    ml_dsa_44: PqSignature

    @classmethod
    def of(cls, handover: Handover) -> Self:
        """Return them as an entry writes them."""
        both = (handover.ed25519, handover.ml_dsa_44)
        ed25519, ml_dsa_44 = (
            binascii.b2a_base64(each, newline=False).decode("ascii") for each in both
        )
        return cls(ed25519=ed25519, ml_dsa_44=ml_dsa_44)

    def handover(self) -> Handover:
        """Return them as a verifier takes them."""
        return Handover(signed_bytes(self.ed25519), signed_bytes(self.ml_dsa_44))


class LogKeysRotated(Entry):
    """Another pair of keys signs the log's checkpoints from here on, beside the one before it."""

    type: Literal["log.keys_rotated"] = "log.keys_rotated"
    party: PartyId
    old: LogKeyPair
    new: LogKeyPair
    signatures: HandoverSignatures


class LogKeysRetired(Entry):
    """The pair before the newest one signs the log's checkpoints no more."""

    type: Literal["log.keys_retired"] = "log.keys_retired"
    party: PartyId
    old: LogKeyPair


class PeerAdded(Entry):
    """The party has pinned a peer, or replaced its card, and what it is trusted as."""

    type: Literal["peer.added"] = "peer.added"
    peer: PartyId
    role: Role
    card_sha256: Digest
    trusted_as: Trust


class PeerRemoved(Entry):
    """The party no longer knows a peer."""

    type: Literal["peer.removed"] = "peer.removed"
    peer: PartyId
    role: Role
    card_sha256: Digest
    trusted_as: Trust


class PeerRevoked(Entry):
    """The party refuses a peer from now on, and does not take it back by accident."""

    type: Literal["peer.revoked"] = "peer.revoked"
    peer: PartyId
    role: Role
    card_sha256: Digest
    trusted_as: Trust


class DatasetPublished(Entry):
    """A platform has evaluated a dataset: from here on every authority must be shown this one."""

    type: Literal["dataset.published"] = "dataset.published"
    dataset: DatasetName
    kind: Kind
    namespace: Namespace
    epoch: Positive
    public_key: Digest
    manifest_sha256: Digest
    n_max: Positive
    max_query: Positive


class DatasetRevoked(Entry):
    """A platform serves an epoch of a dataset no more."""

    type: Literal["dataset.revoked"] = "dataset.revoked"
    dataset: DatasetName
    epoch: Positive
    manifest_sha256: Digest


class DatasetReplayed(Entry):
    """A platform has evaluated a whole list for an auditor, who compares it with a dataset."""

    type: Literal["dataset.replayed"] = "dataset.replayed"
    dataset: DatasetName
    epoch: Positive
    manifest_sha256: Digest
    elements: Count


class DatasetKeyDestroyed(Entry):
    """A platform has destroyed the key of an epoch of a dataset."""

    type: Literal["dataset.key_destroyed"] = "dataset.key_destroyed"
    dataset: DatasetName
    epoch: Positive
    public_key: Digest


class DatasetDelivered(Entry):
    """A dataset went from a platform to an authority; both log it."""

    type: Literal["dataset.delivered"] = "dataset.delivered"
    dataset: DatasetName
    epoch: Positive
    manifest_sha256: Digest
    peer: PartyId
    mandate_id: MandateId
    mandate_sha256: Digest


class DatasetRefused(Entry):
    """A delivery was refused; both sides log it. Null where the request could not be read so far."""

    type: Literal["dataset.refused"] = "dataset.refused"
    dataset: DatasetName | None
    peer: PartyId
    reason: Reason
    mandate_sha256: Digest


class ExchangeRefused(Entry):
    """An offer was refused. Null where the offer could not be read so far."""

    type: Literal["exchange.refused"] = "exchange.refused"
    exchange_id: Digest
    peer: PartyId
    reason: Reason
    mandate_sha256: Digest | None
    protocol: Protocol | None
    dataset: DatasetName | None
    kind: Kind | None
    output: Output | None
    rows: Count | None


class ExchangeHeld(Entry):
    """An offer waits for a second operator of the platform; both sides log it."""

    type: Literal["exchange.held"] = "exchange.held"
    exchange_id: Digest
    peer: PartyId
    reason: Reason
    expires: Time
    mandate_id: MandateId
    mandate_sha256: Digest
    protocol: Protocol
    dataset: DatasetName
    kind: Kind
    output: Output
    rows: Count
    hold: Document
    platform_signature: Signature


class _OperatorsWord(Entry):
    """What a second operator says of a held offer; the platform logs it."""

    exchange_id: Digest
    peer: PartyId
    operator: PartyId
    approval: Document
    operator_signature: Signature


class ExchangeApproved(_OperatorsWord):
    """A second operator has approved a held offer."""

    type: Literal["exchange.approved"] = "exchange.approved"


class ExchangeRejected(_OperatorsWord):
    """A second operator has rejected a held offer."""

    type: Literal["exchange.rejected"] = "exchange.rejected"


class Ruleset(CanonicalModel):
    """The version and digest of a kind's canonical form."""

    version: Positive
    digest: Digest


class ExchangeOpened(Entry):
    """An exchange may begin: what was offered and answered, with both signatures."""

    type: Literal["exchange.opened"] = "exchange.opened"
    exchange_id: Digest
    peer: PartyId
    protocol: Protocol
    dataset: DatasetName | None
    epoch: Positive | None
    manifest_sha256: Digest | None
    kind: Kind
    ruleset: Ruleset
    output: Output
    rows: Count
    mandate_id: MandateId
    mandate_sha256: Digest
    opening_commitment: Digest
    peer_opening_commitment: Digest | None
    operator_commitment: Digest
    offer: Document
    offer_signature: Signature
    answer: Document
    answer_signature: Signature


class ExchangeClosed(Entry):
    """An exchange ended well: the receipt that both parties signed."""

    type: Literal["exchange.closed"] = "exchange.closed"
    exchange_id: Digest
    peer: PartyId
    mandate_id: MandateId
    receipt: Document
    receipt_sha256: Digest
    authority_signature: Signature
    platform_signature: Signature
    rows: Count


class ExchangeAborted(Entry):
    """An exchange ended before its receipt, with the last request that the authority signed."""

    type: Literal["exchange.aborted"] = "exchange.aborted"
    exchange_id: Digest
    peer: PartyId
    mandate_id: MandateId | None
    reason: Reason
    frames: Count
    rows: Count
    requests_transcript: Digest | None
    last_signature: Signature | None
    at_fault: PartyId | None


class MandateImported(Entry):
    """The party was given a mandate outside an exchange: a successor, or a validation."""

    type: Literal["mandate.imported"] = "mandate.imported"
    mandate_id: MandateId
    mandate_sha256: Digest
    signed_as: Trust


class RevocationsImported(Entry):
    """The party holds a newer list of the mandates that an issuer or validator has withdrawn."""

    type: Literal["revocations.imported"] = "revocations.imported"
    peer: PartyId
    sequence: Positive
    issued: Time
    revoked: Count
    list_sha256: Digest


class Heartbeat(Entry):
    """Nothing else happened until here, but so many strangers were turned away."""

    type: Literal["heartbeat"] = "heartbeat"
    failed_handshakes: Count


_TYPE = re.compile(rb'"type":"([a-z_.]{1,64})"}\Z')
"""Where the type stands in an entry whose last member it is, as in every entry there is."""
_TYPES: dict[str, type[Entry]] = {
    model.model_fields["type"].default: model
    for model in (
        LogCreated,
        CardChanged,
        PartySucceeded,
        LogKeysRotated,
        LogKeysRetired,
        PeerAdded,
        PeerRemoved,
        PeerRevoked,
        DatasetPublished,
        DatasetRevoked,
        DatasetReplayed,
        DatasetKeyDestroyed,
        DatasetDelivered,
        DatasetRefused,
        ExchangeRefused,
        ExchangeHeld,
        ExchangeApproved,
        ExchangeRejected,
        ExchangeOpened,
        ExchangeClosed,
        ExchangeAborted,
        MandateImported,
        RevocationsImported,
        Heartbeat,
    )
}


def parse_entry(data: bytes) -> Entry:
    """Parse an entry's bytes strictly.

    Returns:
        An instance of the class of its type.

    Raises:
        VerificationError: not canonical, of an unknown type, a field missing, unknown or wrong. Names
            the fields, never their values.
    """
    return _parse_plain(data) or _parse_any(data)


def _parse_plain(data: bytes) -> Entry | None:
    """Return the entry that plain canonical bytes hold; None where the long way must tell."""
    kind = _TYPE.search(data, max(len(data) - 96, 0)) if len(data) <= MAX_ENTRY_BYTES else None
    model = _TYPES.get(kind[1].decode("ascii")) if kind else None
    return None if model is None else model.read_plain(data)


def _parse_any(data: bytes) -> Entry:
    value = canonical.loads(data, max_bytes=MAX_ENTRY_BYTES, what="a log entry")
    kind = value.get("type")
    model = _TYPES.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise _malformed("is of an unknown type")
    # Time and salt have defaults for whoever makes an entry; in one that is read nothing may lack.
    missing = sorted(model.model_fields.keys() - value.keys())
    if missing:
        raise _malformed(f"lacks {', '.join(missing)}")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        names = sorted(
            {str(e["loc"][0]) for e in error.errors() if e["loc"]} & {*model.model_fields}
        )
        fault = f"has a wrong {', '.join(names)}" if names else "has a field that its type does not"
        raise _malformed(fault) from None


def _malformed(fault: str) -> VerificationError:
    return VerificationError(
        f"a log entry {fault}",
        mend="Do not rely on this log; use the version of psishare that wrote it to look at it.",
        reason="entry_malformed",
    )
