"""The offer and its answer (protocols/specs/exchange.md, sections 5 and 7)."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field

from psishare.exchange.document import Digest, Document, Name, PartyId, Positive, Rows, Time
from psishare.mandates.check import Request

WIRE_VERSION = 3
OFFER = "offer"
ANSWER = "answer"
OFFLINE_END = "00" * 16
OPERATOR_LABEL = b"psishare/operator/v1"


class Ruleset(Document):
    """The version and digest of a kind's canonical form."""

    version: Positive
    digest: Digest


class Offer(Document):
    """What the authority asks: of whom, about what, how many rows, under which mandate."""

    version: Literal[1] = 1
    wire_version: Annotated[int, Field(ge=1, le=2**16)] = WIRE_VERSION
    suite: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]
    protocol: Literal["oprf", "ecdh", "openmined"]
    authority: PartyId
    platform: PartyId
    authority_certificate: Digest
    platform_certificate: Digest
    dataset: Name
    manifest_sha256: Digest | None
    kind: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9./-]{0,64}$")]
    ruleset: Ruleset
    rows: Rows
    output: Literal["matches", "count", "both"]
    frame_rows: Annotated[int, Field(ge=1, le=32_768)]
    mandate_sha256: Digest
    opening_commitment: Digest
    operator_commitment: Digest
    nonce: Digest
    time: Time

    @property
    def exchange_id(self) -> bytes:
        """The exchange's id: SHA-256 of the offer."""
        return self.sha256

    @property
    def request(self) -> Request:
        """What a mandate is asked to allow."""
        return Request(
            authority=self.authority,
            platform=self.platform,
            protocol=self.protocol,
            dataset=self.dataset,
            kind=self.kind,
            output=self.output,
            rows=self.rows,
            namespace=self.namespace,
            ruleset_sha256=self.ruleset.digest,
            frame_rows=self.frame_rows,
        )

    @property
    def is_offline(self) -> bool:
        """Whether it was made to go by files: what stands for a certificate begins with 16 zeros."""
        return self.authority_certificate.startswith(OFFLINE_END)


class Answer(Document):
    """What the platform accepted: the epoch it evaluates with, and how many elements follow."""

    version: Literal[1] = 1
    exchange_id: Digest
    platform: PartyId
    dataset: Name
    epoch: Positive | None
    manifest_sha256: Digest | None
    elements: Rows
    opening_commitment: Digest | None
    nonce: Digest
    time: Time


def operator_commitment(name: str, salt: bytes) -> bytes:
    """Return the salted commitment to an operator's name; ``salt`` is 32 random bytes."""
    return hashlib.sha256(OPERATOR_LABEL + salt + name.encode()).digest()
