"""Domain names: lower case, A-labels, no dot at the end (identifiers.md, 7)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import idna
import pyarrow.compute as pc

from psishare.identifiers.kind import Kind
from psishare.identifiers.reject import Reason, Unacceptable

if TYPE_CHECKING:
    import pyarrow as pa

_LABEL = "[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_LAST = "[a-z](?:[a-z0-9_-]*[a-z0-9_])?"
_NAME = rf"\A(?:{_LABEL}\.)+{_LAST}\z"
_DOUBTFUL = r"[^.]{64}|(?:\A|\.)xn--"
_ASCII_LABEL = re.compile(_LABEL)
_A_LABEL = "xn--"
_MAX_NAME = 253
_MAX_LABEL = 63


class Domain(Kind):
    """A domain name."""

    name = "domain"
    summary = "domain name, lower case, internationalised names as A-labels"
    note = "The whole name is compared: a domain does not match what is under it."

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Take lower-case ASCII names without A-labels, which the library must check."""
        form = pc.match_substring_regex(values, _NAME)
        doubtful = pc.match_substring_regex(values, _DOUBTFUL)
        short = pc.less_equal(pc.binary_length(values), _MAX_NAME)
        return pc.and_(pc.and_(form, short), pc.invert(doubtful))

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the name's labels as ``idna`` encodes them."""
        try:
            mapped = idna.uts46_remap(value, std3_rules=False)
            labels = [_a_label(label) for label in mapped.removesuffix(".").split(".")]
        except (idna.IDNAError, UnicodeError):
            labels = []
        if not labels:
            raise Unacceptable(Reason.MALFORMED)
        if labels[-1].isdecimal():
            raise Unacceptable(Reason.IP_ADDRESS)
        if len(labels) == 1:
            raise Unacceptable(Reason.SINGLE_LABEL)
        name = ".".join(labels)
        if not labels[-1][0].isalpha() or len(name) > _MAX_NAME:
            raise Unacceptable(Reason.MALFORMED)
        return name


def _a_label(label: str) -> str:
    if label.isascii() and not label.startswith(_A_LABEL):
        # IDNA has no say in these; it would refuse `_` and two hyphens, which real names hold.
        if len(label) <= _MAX_LABEL and _ASCII_LABEL.fullmatch(label):
            return label
        raise Unacceptable(Reason.MALFORMED)
    return idna.alabel(label).decode("ascii")
