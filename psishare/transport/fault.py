"""An error on the wire: what a peer learns of ours, and what we believe of a peer's.

The bytes are one ``Fault`` (wire.proto), in the trailing metadata of a failed call:

1. ``error`` names a class of ``CLASSES``, and only an error of exactly such a class crosses as it is; a
   ``TransportError`` only for the reasons of ``PASSING``, which ask the caller to come again. An
   ``AuditError`` crosses without its sentences, which may name files. Everything else becomes
   ``InternalError`` without words: a peer must not learn our insides.
2. ``reason`` is 1 to 64 characters ``[a-z_]``.
3. ``message`` and ``mend`` are one line of printable characters, at most 300.

A receiver takes none of this on trust: what is not so is replaced, the sentences are marked as the
peer's own, and the party at fault is the peer, whose words they are. A class that it does not know is
a peer that failed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from psishare.errors import (
    AuditError,
    AuthorisationError,
    InternalError,
    PeerError,
    ProtocolError,
    PsishareError,
    TransportError,
    VerificationError,
)
from psishare.transport import wire_pb2 as wire
from psishare.transport.limits import BUSY, STOPPING
from psishare.transport.message import parse

if TYPE_CHECKING:
    from typing import Final

METADATA_KEY: Final = "psishare-fault-bin"
TEXT_CHARACTERS_MAX: Final = 300
FAULT_BYTES_MAX: Final = 4096
REASON: Final = re.compile(r"[a-z_]{1,64}")
AUDIT_MESSAGE: Final = "the audit log takes no entry, and nothing goes on without it"
AUDIT_MEND: Final = "The log must be mended on this side; try again then."

CLASSES: Final[dict[str, type[PsishareError]]] = {
    kind.__name__: kind
    for kind in (
        AuthorisationError,
        ProtocolError,
        PeerError,
        TransportError,
        AuditError,
        VerificationError,
    )
}
PASSING: Final = frozenset({BUSY, STOPPING})
"""Reasons for which the same call may be answered if it is made again."""


def tells(error: PsishareError) -> bool:
    """Return whether a peer is given this error's own sentences."""
    if type(error) is TransportError:
        return error.reason in PASSING
    return type(error) in CLASSES.values() and type(error) is not AuditError


def encode(error: PsishareError) -> bytes:
    """Return the fault's bytes, at most ``FAULT_BYTES_MAX``."""
    if tells(error):
        return _serialised(type(error), error.reason, error.message, error.mend)
    if type(error) is AuditError:
        return _serialised(AuditError, error.reason, AUDIT_MESSAGE, AUDIT_MEND)
    return _serialised(InternalError, InternalError.default_reason, "", "")


def decode(data: bytes, *, peer: str, step: str) -> PsishareError:
    """Return a peer's fault as an error of ours; never raises for what the peer sent.

    Args:
        data: the metadata's value, as received.
        peer: whose it is.
        step: which call it answers, for the sentence.

    Returns:
        An error of the class that the fault names where that is one of ``CLASSES``; otherwise a
        ``PeerError`` with reason ``peer_failed``.
    """
    if len(data) > FAULT_BYTES_MAX:
        return _malformed(peer, step)
    try:
        received = parse(wire.Fault, data, step=step, party=peer)
    except ProtocolError:
        return _malformed(peer, step)
    kind = CLASSES.get(received.error)
    if kind is None or (kind is TransportError and received.reason not in PASSING):
        return failed(peer, step)
    said = printable(received.message) or "it gave no sentence"
    advice = printable(received.mend)
    return kind(
        f"{peer} answered {step}: {said}",
        mend=f"{peer} says: {advice}" if advice else f"Ask the operator of {peer}.",
        reason=_reason(received.reason, kind.default_reason),
        party=peer,
    )


def failed(peer: str, step: str) -> PeerError:
    """Return the error for a peer that failed and does not say how."""
    return PeerError(
        f"{peer} failed at {step}",
        mend=f"Ask the operator of {peer}: the fault stands in its own records.",
        reason="peer_failed",
        party=peer,
    )


def printable(text: str) -> str:
    """Return untrusted text as one line of printable characters, at most 300."""
    visible = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(visible.split())[:TEXT_CHARACTERS_MAX]


def _malformed(peer: str, step: str) -> ProtocolError:
    return ProtocolError(
        f"{peer} answered {step} with a fault that cannot be read",
        mend=f"Ask the operator of {peer}: the fault stands in its own records.",
        reason="fault_malformed",
        party=peer,
    )


def _reason(text: str, otherwise: str) -> str:
    return text if REASON.fullmatch(text) else otherwise


def _serialised(kind: type[PsishareError], reason: str, message: str, mend: str) -> bytes:
    return wire.Fault(
        error=kind.__name__,
        reason=_reason(reason, kind.default_reason),
        message=printable(message),
        mend=printable(mend),
    ).SerializeToString(deterministic=True)
