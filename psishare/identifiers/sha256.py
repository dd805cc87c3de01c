"""SHA-256 digests, of files or of whatever both sides digested alike (identifiers.md, 20)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from psishare.identifiers.kind import Kind
from psishare.identifiers.reject import Reason, Unacceptable

if TYPE_CHECKING:
    import pyarrow as pa

_DIGEST = re.compile("(?:[sS][hH][aA]256:)?([0-9a-fA-F]{64})")
_FORM = r"\A[0-9a-f]{64}\z"


class Sha256(Kind):
    """A SHA-256 digest."""

    name = "sha256"
    summary = "SHA-256 digest, sixty-four hexadecimal digits"
    note = (
        "Of files, mainly. Digests of identifiers match only if both sides spelled what they digested"
        " alike; where the values themselves can be had, use their own kind."
    )

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Take sixty-four lower-case hexadecimal digits."""
        return pc.match_substring_regex(values, _FORM)

    def respelled(self, values: pa.Array, region: str | None) -> pa.Array:  # noqa: ARG002
        """Write capitals small."""
        return pc.ascii_lower(values)

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the digest in lower case."""
        found = _DIGEST.fullmatch(value)
        if found is None:
            raise Unacceptable(Reason.MALFORMED)
        return found[1].lower()
