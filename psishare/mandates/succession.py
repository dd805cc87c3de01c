"""Which mandates have a successor: remembered for good, once a platform has seen it.

One small file a succession, named by the predecessor and the issuer of both: an issuer puts an end to
its own mandates, and to no other's. Source: protocols/specs/mandate.md, section 11.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from psishare.errors import AuditError, AuthorisationError
from psishare.keys.durable_file import write_durably

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.mandates.mandate import Mandate

SUFFIX = ".superseded"


class Successions:
    """The successions that are known, in a folder.

    Args:
        path: the folder; it exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, successor: Mandate) -> None:
        """Remember, durably, that a verified mandate supersedes another; the first one counts.

        Raises:
            AuditError: ``state_write_failed``.
        """
        if successor.supersedes is None:
            return
        path = self._file(successor.supersedes, successor.issuer)
        if not path.is_file():
            text = f"{successor.id}\n".encode("ascii")
            write_durably(path, text, error=AuditError, reason="state_write_failed")

    def require_not_superseded(self, mandate: Mandate) -> None:
        """Refuse a mandate whose successor has been seen.

        Raises:
            AuthorisationError: ``mandate_superseded``.
            AuditError: ``mandate_unreadable``, the disk refuses.
        """
        path = self._file(mandate.id, mandate.issuer)
        try:
            successor = path.read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            return
        except OSError as error:
            raise AuditError(
                f"{path} cannot be read: {error.strerror or type(error).__name__}",
                mend="Check the disk and the permissions of the folder of mandates.",
                reason="mandate_unreadable",
            ) from error
        raise AuthorisationError(
            f"the mandate has been superseded by {successor[:64]}",
            mend="Use the mandate that superseded it.",
            reason="mandate_superseded",
        )

    def _file(self, mandate_id: str, issuer: str) -> Path:
        digest = hashlib.sha256(issuer.encode()).hexdigest()[:16]
        return self._path / f"{mandate_id}.{digest}{SUFFIX}"
