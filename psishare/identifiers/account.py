"""Account: an opaque identifier, kept as it is but for Unicode's spelling (identifiers.md, 21)."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from psishare.identifiers.kind import Kind
from psishare.identifiers.reject import Reason, Unacceptable

if TYPE_CHECKING:
    import pyarrow as pa

_PRINTABLE_ASCII = r"\A[!-~](?:[ -~]*[!-~])?\z"
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"


class Account(Kind):
    """An opaque identifier of one namespace: a customer number, a handle, a device id."""

    name = "account"
    summary = "opaque identifier of one namespace; case kept"
    note = (
        "Case, inner spaces and punctuation stay: whoever issued the identifier knows what "
        "they mean. Give both sides the same namespace."
    )

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Take printable ASCII without spaces at its ends: NFC leaves it as it is."""
        return pc.match_substring_regex(values, _PRINTABLE_ASCII)

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the value in NFC."""
        if any(unicodedata.category(c) in _INVISIBLE and c not in _JOINERS for c in value):
            raise Unacceptable(Reason.CONTROL)
        return unicodedata.normalize("NFC", value)
