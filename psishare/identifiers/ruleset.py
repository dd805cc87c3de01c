"""The digest by which two parties know that their canonical forms are the same (identifiers.md, 22)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

import pyarrow as pa

from psishare.identifiers.canonical import canonicalise
from psishare.identifiers.registry import kind

SPEC_NUMBER = 1
RULESET_LABEL = b"psishare/ruleset/v1"


@dataclass(frozen=True, slots=True)
class Vector:
    """One case of a kind's vector file.

    Attributes:
        input: the value as someone wrote it; None is a missing one.
        region: the default region, or None.
        canonical: the canonical value; None where it is rejected.
        reason: why it is rejected; None where it is not.
        rule: which rule the case shows, and where that rule comes from.
    """

    input: str | None
    region: str | None
    canonical: str | None
    reason: str | None
    rule: str


def vectors(name: str) -> tuple[Vector, ...]:
    """Return a kind's vectors, in the order of the file.

    Raises:
        InputError: there is no such kind.
    """
    file = resources.files("psishare.identifiers") / "vectors" / f"{kind(name).name}.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    return tuple(
        Vector(
            case["input"],
            case.get("region"),
            case.get("canonical"),
            case.get("reason"),
            case["rule"],
        )
        for case in document["cases"]
    )


def ruleset_version(name: str) -> int:
    """Return the number of the specification that a kind's canonical form follows.

    Raises:
        InputError: there is no such kind.
    """
    kind(name)
    return SPEC_NUMBER


@cache
def ruleset_digest(name: str) -> str:
    """Return the digest of a kind's canonical form as this installation really computes it.

    A library's update that changes no vector's outcome changes no digest.

    Returns:
        64 lower-case hexadecimal digits.

    Raises:
        InputError: there is no such kind.
    """
    digest = hashlib.sha256(
        RULESET_LABEL
        + b"\x00"
        + SPEC_NUMBER.to_bytes(4, "big")
        + kind(name).name.encode()
        + b"\x00"
    )
    for value in _canonical_values(name):
        digest.update(b"\x00" if value is None else _accepted(value))
    return digest.hexdigest()


def _canonical_values(name: str) -> list[bytes | None]:
    """Return what this installation makes of each vector's input, in the order of the file."""
    cases = vectors(name)
    values: list[bytes | None] = [None] * len(cases)
    for region in {case.region for case in cases}:
        places = [place for place, case in enumerate(cases) if case.region == region]
        column = pa.array([cases[place].input for place in places], pa.large_string())
        found = canonicalise(column, name, region=region).values.to_pylist()
        for place, value in zip(places, found, strict=True):
            values[place] = value
    return values


def _accepted(value: bytes) -> bytes:
    return b"\x01" + len(value).to_bytes(4, "big") + value
