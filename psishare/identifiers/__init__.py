"""Kinds of identifiers and their canonical forms: a column in, canonical bytes and rejects out.

The rules stand in ``protocols/specs/identifiers.md``. Nothing here opens a file or a socket, and no
error, log or temporary file ever holds a value.
"""

from psishare.identifiers.canonical import Canonical, canonicalise
from psishare.identifiers.kind import Kind
from psishare.identifiers.registry import KINDS, kind
from psishare.identifiers.reject import Reason, Rejects
from psishare.identifiers.ruleset import ruleset_digest, ruleset_version

__all__ = [
    "KINDS",
    "Canonical",
    "Kind",
    "Reason",
    "Rejects",
    "canonicalise",
    "kind",
    "ruleset_digest",
    "ruleset_version",
]
