"""Every exception that psishare raises, and the exit code that it ends a command with.

An error names the fault, the party at fault and the mend. It never holds an identifier, a
fingerprint, a blinded element or a key: row numbers, counts and ids only.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """The exit codes of the command line; stable across versions."""

    OK = 0
    USAGE = 2
    CONFIGURATION = 3
    INPUT = 4
    REFUSED = 5
    PEER = 6
    PROTOCOL = 7
    AUDIT = 8
    INTERNAL = 70
    INTERRUPTED = 130


class PsishareError(Exception):
    """The root of psishare's errors.

    Args:
        message: what is wrong, one sentence, without any secret or identifier.
        mend: what to do about it, one sentence.
        reason: the stable reason code, ``[a-z_]+``; the class's own where none is given.
        party: the id of the party at fault, or None where it is this machine.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL
    default_reason: ClassVar[str] = "internal"

    def __init__(
        self, message: str, *, mend: str, reason: str | None = None, party: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend
        self.reason = reason or self.default_reason
        self.party = party

    @property
    def party_label(self) -> str:
        """What the party is to the error, before its name."""
        return "at fault"

    def diagnostics(self) -> str:
        """Return the message, the party concerned and the mend as text for a person."""
        party = f"\n  {self.party_label}: {self.party}" if self.party else ""
        return f"{self.message} [{self.reason}]{party}\n  to mend: {self.mend}"


class ConfigError(PsishareError):
    """Our own configuration, home folder or files are not as they must be."""

    exit_code = ExitCode.CONFIGURATION
    default_reason = "config_invalid"


class InputError(PsishareError):
    """The caller's data cannot be used. Names the row, never the value."""

    exit_code = ExitCode.INPUT
    default_reason = "input_invalid"


class AuthorisationError(PsishareError):
    """Refused: no mandate, policy or budget allows it. Carries the rule's reason code."""

    exit_code = ExitCode.REFUSED
    default_reason = "not_authorised"

    @property
    def party_label(self) -> str:
        """A party that waits for a second operator of its own has not refused."""
        return "held by" if self.reason == "approval_required" else "refused by"


class PeerError(PsishareError):
    """The other party could not be reached, or did not do its part."""

    exit_code = ExitCode.PEER
    default_reason = "peer_failed"


class TransportError(PeerError):
    """A connection failed or fell silent; trying again may help."""

    default_reason = "peer_unreachable"


class ProtocolError(PeerError):
    """The other party broke the protocol; trying again never helps."""

    exit_code = ExitCode.PROTOCOL
    default_reason = "protocol_violated"


class AuditError(PsishareError):
    """The audit log cannot take an entry or cannot be read; nothing goes on without it."""

    exit_code = ExitCode.AUDIT
    default_reason = "audit_failed"


class VerificationError(AuditError):
    """Evidence does not verify: a signature, a proof or a digest is wrong."""

    default_reason = "verification_failed"


class CancellationError(PsishareError):
    """The work was stopped, because whoever had asked for it asked for that."""

    exit_code = ExitCode.INTERRUPTED
    default_reason = "cancelled"


class InternalError(PsishareError):
    """A fault of psishare itself."""
