"""What the machine gives: disk, clock, open files, the packages of protocols."""

from __future__ import annotations

import importlib.util
import resource
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from psishare.audit.entry import parse_entry
from psishare.client.doctor.finding import Finding
from psishare.client.opened_home import LOGGING_ROLES, open_log
from psishare.errors import ExitCode
from psishare.parties.field import TIME_FORMAT
from psishare.transport.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psishare.parties.home import Home

MIB = 2**20
DISK_FULL_BYTES = 100 * MIB
DISK_LOW_BYTES = 1024 * MIB
SKEW = timedelta(minutes=5)
"""By how much a time that was written may lie ahead before the clock is thought to be wrong."""

FILES_BESIDE_CONNECTIONS = 256


def disk(path: Path) -> Finding:
    """Look whether the disk of a home has room."""
    there = next((p for p in (path, *path.absolute().parents) if p.exists()), path)
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Finding.fault(
            "disk",
            "disk_unreadable",
            f"{there} cannot be looked at: {error.strerror or type(error).__name__}",
            mend="Check the path and its permissions.",
        )
    room = f"{free // MIB:,} MiB are free on the disk of {path}"
    if free < DISK_FULL_BYTES:
        return Finding.fault(
            "disk",
            "disk_full",
            room,
            mend="Make room: where the log takes no entry, nothing is exchanged.",
            exit_code=ExitCode.AUDIT,
        )
    if free < DISK_LOW_BYTES:
        mend = "Make room before it is full: the log only grows, by about 15 KB an exchange."
        return Finding.warning("disk", "disk_low", room, mend=mend)
    return Finding.fine("disk", room)


def clock(home: Home) -> Iterator[Finding]:
    """Look whether the clock is behind what has been written already."""
    now = datetime.now(UTC)
    written = {"card": home.card.created}
    if home.card.role in LOGGING_ROLES:
        log = open_log(home)
        if log.size:
            written["log's last entry"] = parse_entry(log.entry(log.size - 1)).time
    for what, text in written.items():
        time = datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)
        if time - now > SKEW:
            yield Finding.fault(
                "clock",
                "clock_behind",
                f"it is {now:%Y-%m-%d %H:%M} UTC by this clock, and the {what} is of {text}",
                mend="Set the clock, and keep it right by NTP; offers are refused where clocks differ.",
            )
            return
    yield Finding.fine("clock", f"{now:%Y-%m-%d %H:%M} UTC, after all that was written here")


def open_files(_home: Home) -> Iterator[Finding]:
    """Look whether as many files may be open as ``serve`` takes connections."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = Limits().connections + FILES_BESIDE_CONNECTIONS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        yield Finding.warning(
            "open files",
            "open_files_few",
            f"{soft:,} files may be open at once, and `serve` may want {wanted:,}",
            mend="Raise the limit (LimitNOFILE= of the unit, or `ulimit -n`), or set"
            " --max-connections lower.",
        )
        return
    yield Finding.fine("open files", "as many may be open as `serve` takes connections")


def protocols(_home: Home) -> Iterator[Finding]:
    """Look which protocols this installation has."""
    has = importlib.util.find_spec("private_set_intersection") is not None
    names = "oprf, ecdh and openmined" if has else "oprf and ecdh; openmined-psi is not installed"
    yield Finding.fine("protocols", names)
