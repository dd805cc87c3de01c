"""The mandates that were used here, each kept whole under its digest: evidence for whoever audits.

An exchange's entries name its mandate by the envelope's SHA-256 only. The envelope is kept before an
exchange opens under it, so that no opened exchange is ever without its justification.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from psishare.errors import AuditError, VerificationError
from psishare.keys.durable_file import write_durably
from psishare.mandates.mandate import MAX_BYTES

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".mandate"


class MandateArchive:
    """A folder of envelopes, one file each, ``<sha256>.mandate``.

    Args:
        path: the folder; it exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, envelope: bytes) -> None:
        """Keep an envelope, durably; one that is kept already stays as it is.

        Raises:
            AuditError: ``state_write_failed``, the disk refuses.
        """
        path = self._file(hashlib.sha256(envelope).hexdigest())
        if not path.is_file():
            write_durably(path, envelope, error=AuditError, reason="state_write_failed")

    def get(self, sha256: str) -> bytes | None:
        """Return the envelope with a digest, 64 hexadecimal digits, or None where it is not kept.

        Raises:
            AuditError: the file cannot be read.
            VerificationError: it holds something else.
        """
        try:
            with self._file(sha256).open("rb") as file:
                envelope = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AuditError(
                f"a kept mandate cannot be read: {error.strerror or type(error).__name__}",
                mend="Check the disk and the permissions of the folder of mandates.",
                reason="mandate_unreadable",
            ) from error
        if hashlib.sha256(envelope).hexdigest() != sha256:
            raise VerificationError(
                f"the mandate kept as {sha256[:12]} is another one",
                mend="Restore the folder of mandates from a backup, or ask the peer for its copy.",
                reason="mandate_mismatch",
            )
        return envelope

    def _file(self, sha256: str) -> Path:
        return self._path / f"{sha256}{SUFFIX}"
