"""The manifest: what a dataset is, signed by its platform (protocols/specs/dataset.md, section 4)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

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

if TYPE_CHECKING:
    from collections.abc import Iterator

LABEL = "manifest"
ENCODING: Final = "elias-fano/v1"
MAX_SHARD_ITEMS = 2**24
MAX_PREFIX_BITS = 13
MAX_PARTS = 4096
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
    """The fingerprints of one part under one prefix."""

    items: Annotated[int, Field(ge=0, le=MAX_SHARD_ITEMS)]
    bytes: Annotated[int, Field(ge=1, le=MAX_ITEMS)]
    sha256: Digest

    @property
    def file_name(self) -> str:
        """The name of the file that holds it, at the platform and in a copy."""
        return f"shard-{self.sha256}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a shard belongs.

    Attributes:
        index: its number through all parts, as it is asked for.
        shard: what the manifest says of it.
        bits: bits of a fingerprint.
        prefix_bits, prefix: the prefix that its part gives it.
    """

    index: int
    shard: Shard
    bits: int
    prefix_bits: int
    prefix: int


class Part(_Document):
    """A set of fingerprints: the base, or what one update added or removed."""

    change: Literal["base", "add", "remove"]
    items: Count
    prefix_bits: Annotated[int, Field(ge=0, le=MAX_PREFIX_BITS)]
    shards: list[Shard]

    @model_validator(mode="after")
    def _adds_up(self) -> Part:
        if len(self.shards) != 1 << self.prefix_bits:
            raise ValueError("a part has not one shard for each prefix")
        if sum(shard.items for shard in self.shards) != self.items:
            raise ValueError("a part's shards do not add up to its items")
        return self


class Manifest(_Document):
    """What a dataset is: its identity, its key, its sizes and the digests of its shards."""

    version: Literal[1] = 1
    platform: PartyId
    dataset: Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]
    kind: Kind
    namespace: Namespace
    epoch: Annotated[int, Field(ge=1)]
    sequence: Annotated[int, Field(ge=0, le=MAX_PARTS)]
    previous: Digest | None
    ruleset: Ruleset
    suite: Literal["ristretto255-SHA512"] = RISTRETTO255_SHA512
    public_key: Digest
    items: Count
    n_max: Annotated[int, Field(ge=1, le=MAX_ITEMS)]
    max_query: Annotated[int, Field(ge=1, le=MAX_ITEMS)]
    fingerprint_bits: int
    encoding: Literal["elias-fano/v1"] = ENCODING
    parts: Annotated[list[Part], Field(min_length=1, max_length=MAX_PARTS)]
    created: Time

    @model_validator(mode="after")
    def _adds_up(self) -> Manifest:
        if self.fingerprint_bits != fingerprint_bits(self.n_max, self.max_query):
            raise ValueError("fingerprint_bits is not what n_max and max_query give")
        if [part.change == "base" for part in self.parts] != [True] + [False] * (
            len(self.parts) - 1
        ):
            raise ValueError("the first part, and no other, is the base")
        if (self.sequence == 0) != (self.previous is None):
            raise ValueError("an update names the manifest before it, and nothing else does")
        if not self.sequence < len(self.parts) <= 1 + 2 * self.sequence:
            raise ValueError("an update adds one or two parts")
        counted = sum(-p.items if p.change == "remove" else p.items for p in self.parts)
        if counted != self.items or sum(part.items for part in self.parts) > self.n_max:
            raise ValueError("the parts do not add up to the items")
        return self

    @property
    def shards(self) -> list[Shard]:
        """The shards of all parts, in the order in which they are asked for."""
        return [shard for part in self.parts for shard in part.shards]

    def places(self) -> Iterator[Place]:
        """Yield where each shard belongs, in the order of ``shards``."""
        index = 0
        for part in self.parts:
            for prefix, shard in enumerate(part.shards):
                yield Place(index, shard, self.fingerprint_bits, part.prefix_bits, prefix)
                index += 1

    @property
    def n_bytes(self) -> int:
        """The bytes of all shards."""
        return sum(shard.bytes for shard in self.shards)

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
