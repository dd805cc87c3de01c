"""The manifest: what a dataset is, signed by its platform (protocols/specs/dataset.md, section 4)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from psishare.errors import VerificationError
from psishare.keys import canonical
from psishare.psi.suite import RISTRETTO255_SHA512, fingerprint_bits

LABEL = "manifest"
ENCODING: Final = "sorted-fixed/v1"
SHARD_ITEMS = 2**20
MAX_ITEMS = 2**40
MAX_BYTES = 1024 * 1024
NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=MAX_ITEMS)]
PartyId = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9./-]{0,62}[a-z0-9])?$")]
Kind = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9./-]{0,64}$")]


def _require_time(text: str) -> str:
    """Refuse what has the form of a time and is none, such as a thirteenth month."""
    datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return text


Time = Annotated[
    str,
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
    AfterValidator(_require_time),
]


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class Ruleset(_Document):
    """The version and digest of a kind's canonical form."""

    version: Annotated[int, Field(ge=1)]
    digest: Digest


class Shard(_Document):
    """One run of the sorted fingerprints."""

    items: Annotated[int, Field(ge=1, le=SHARD_ITEMS)]
    bytes: Annotated[int, Field(ge=1)]
    sha256: Digest


class Manifest(_Document):
    """What a dataset is: its identity, its key, its sizes and the digests of its shards."""

    version: Literal[1] = 1
    platform: PartyId
    dataset: Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]
    kind: Kind
    namespace: Namespace
    epoch: Annotated[int, Field(ge=1)]
    ruleset: Ruleset
    suite: Literal["ristretto255-SHA512"] = RISTRETTO255_SHA512
    public_key: Digest
    items: Count
    n_max: Annotated[int, Field(ge=1, le=MAX_ITEMS)]
    max_query: Annotated[int, Field(ge=1, le=MAX_ITEMS)]
    fingerprint_bits: int
    encoding: Literal["sorted-fixed/v1"] = ENCODING
    shards: list[Shard]
    created: Time

    @property
    def width(self) -> int:
        """Bytes of one fingerprint."""
        return -(-self.fingerprint_bits // 8)

    @model_validator(mode="after")
    def _adds_up(self) -> Manifest:
        if self.fingerprint_bits != fingerprint_bits(self.n_max, self.max_query):
            raise ValueError("fingerprint_bits is not what n_max and max_query give")
        if sum(shard.items for shard in self.shards) != self.items or self.items > self.n_max:
            raise ValueError("the shards do not add up to the items")
        if any(shard.bytes != shard.items * self.width for shard in self.shards):
            raise ValueError("a shard's bytes are not its items")
        return self

    def document(self) -> bytes:
        """Return the canonical bytes that are signed and digested."""
        return canonical.dumps(self.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A manifest with the bytes that were signed and the signature over them."""

    manifest: Manifest
    document: bytes
    signature: bytes

    @property
    def sha256(self) -> bytes:
        """The manifest's digest, 32 bytes."""
        return hashlib.sha256(self.document).digest()


def parse_manifest(document: bytes) -> Manifest:
    """Parse a manifest's bytes strictly.

    Raises:
        VerificationError: not canonical, a field is missing, unknown or wrong.
    """
    value = canonical.loads(document, max_bytes=MAX_BYTES, what="the dataset's manifest")
    try:
        manifest = Manifest.model_validate(value)
    except ValidationError as error:
        names = {str(e["loc"][0]) if e["loc"] else "sizes" for e in error.errors()}
        known = names & {*Manifest.model_fields, "sizes"}
        fields = ", ".join(sorted(known)) or "an unknown field"
        raise _invalid(f"is not valid: {fields}") from None
    # Pydantic takes true for 1 and gives a field that is missing its default: the way back tells.
    if manifest.document() != document:
        raise _invalid("is not valid: a field is missing or not in its canonical form")
    return manifest


def _invalid(fault: str) -> VerificationError:
    return VerificationError(
        f"the dataset's manifest {fault}",
        mend="Ask the platform to encode the dataset again with a current psishare.",
        reason="manifest_invalid",
    )
