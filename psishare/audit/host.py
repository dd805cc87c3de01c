"""Which host writes a log: a second one is refused, since a file lock may hold on one host alone.

The name of the host is kept in the log's lock file, as a digest. It is no evidence: who reads a log, or a
copy of it, does not look there.
"""

from __future__ import annotations

import hashlib
import os
import socket
from functools import cache
from pathlib import Path

from psishare.errors import AuditError

_LABEL = b"psishare/host/v1\x00"
_MACHINE_ID = Path("/etc/machine-id")
_RECORD_BYTES = 64


@cache
def this_host() -> bytes:
    """Return this host's mark: 64 hexadecimal digits, from its machine id, else from its name."""
    try:
        identity = _MACHINE_ID.read_bytes().strip()
    except OSError:
        identity = b""
    # A container has a machine id of its own, or none; then its name tells it from others.
    identity = identity or socket.gethostname().encode()
    return hashlib.sha256(_LABEL + identity).hexdigest().encode("ascii")


def claim_for_host(lock: int, folder: Path) -> None:
    """Let this host write the log, unless another one does.

    Args:
        lock: the open lock file, which this process holds.
        folder: the log's folder.

    Raises:
        AuditError: ``log_elsewhere``.
        OSError: the disk refuses.
    """
    written = os.pread(lock, _RECORD_BYTES, 0)
    if written == this_host():
        return
    if written:
        raise AuditError(
            f"the log in {folder} is written by another host",
            mend="Use it on that host. If it was moved here for good, and nothing there can write it any"
            f" more, remove {folder / 'lock'}.",
            reason="log_elsewhere",
        )
    os.pwrite(lock, this_host(), 0)
