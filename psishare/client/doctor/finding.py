"""One thing that was looked at, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from psishare.errors import ExitCode

if TYPE_CHECKING:
    from psishare.errors import PsishareError


class Level(StrEnum):
    """How bad it is: ``fine``; ``warning``, it works, but not for ever or not well; ``fault``."""

    FINE = "fine"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found.

    Attributes:
        check: what was looked at, such as ``keys``.
        level: how bad it is.
        code: the stable name of the fault: a reason code, or one of ``docs/operations.md``; empty where
            all is fine.
        message: what was found, a sentence.
        mend: what to do about it, a sentence; empty where all is fine.
        exit_code: what a fault of this kind ends a command with.
        party: the party concerned, where it is another one.
    """

    check: str
    level: Level
    code: str
    message: str
    mend: str
    exit_code: ExitCode = ExitCode.OK
    party: str | None = None

    @classmethod
    def fine(cls, check: str, message: str) -> Self:
        """Return that all is fine."""
        return cls(check, Level.FINE, "", message, "")

    @classmethod
    def warning(cls, check: str, code: str, message: str, *, mend: str) -> Self:
        """Return what will be a fault, or could be better."""
        return cls(check, Level.WARNING, code, message, mend)

    @classmethod
    def fault(
        cls,
        check: str,
        code: str,
        message: str,
        *,
        mend: str,
        exit_code: ExitCode = ExitCode.CONFIGURATION,
        party: str | None = None,
    ) -> Self:
        """Return what keeps a command from working."""
        return cls(check, Level.FAULT, code, message, mend, exit_code, party)

    @classmethod
    def of_error(cls, check: str, error: PsishareError) -> Self:
        """Return an error that a command would end with."""
        return cls(
            check,
            Level.FAULT,
            error.reason,
            error.message,
            error.mend,
            error.exit_code,
            error.party,
        )


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was looked at, in order.

    Attributes:
        findings: one or more for each check.
    """

    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What keeps commands from working."""
        return tuple(f for f in self.findings if f.level is Level.FAULT)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What will be a fault, or could be better."""
        return tuple(f for f in self.findings if f.level is Level.WARNING)

    @property
    def exit_code(self) -> ExitCode:
        """The largest exit code of its faults; 0 where there are warnings at most."""
        return max((fault.exit_code for fault in self.faults), default=ExitCode.OK)
