"""What a party has recorded: its log, its state, its exchanges."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING

from psishare.audit.fsck import check_log_folder
from psishare.client.doctor.finding import Finding
from psishare.client.opened_home import open_log
from psishare.errors import ExitCode
from psishare.exchange.document import now
from psishare.exchange.offer import Offer
from psishare.exchange.register import Register, State
from psishare.mandates.archive import MandateArchive
from psishare.mandates.budget import Budget
from psishare.mandates.envelope import read_envelope
from psishare.parties.log_rotation import stray_key_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.exchange.register import Row
    from psishare.keys.log_keys import LogKeys
    from psishare.parties.home import Home

SHOWN_FAULTS = 3


def log(home: Home) -> Iterator[Finding]:
    """Look whether the log recovers, is whole, and is no older than what else lies in the home."""
    opened = open_log(home)
    report = check_log_folder(home.log_path, home.card.checkpoint_verifiers)
    for fault in report.faults[:SHOWN_FAULTS]:
        place = fault.path + ("" if fault.byte is None else f", byte {fault.byte}")
        yield Finding.fault(
            "log",
            "log_damaged",
            f"{place or 'the log'}: {fault.finding}",
            mend="Stop using the home, keep the disk as it is, and restore the newest copy; see"
            " `psishare audit fsck`.",
            exit_code=ExitCode.AUDIT,
        )
    if report.verdict is not None:
        yield from _log_keys(home, report.verdict.keys)
    size, known = opened.size, _known_size(home)
    if known > size:
        yield Finding.fault(
            "log",
            "log_rolled_back",
            f"the log has {size} entries, and what lies beside it knows of {known}",
            mend="The log was restored from an old copy: restore the newest one before going on.",
            exit_code=ExitCode.AUDIT,
        )
    elif not report.faults:
        yield Finding.fine("log", f"{size:,} entries, every byte as it was signed")


def _log_keys(home: Home, keys: LogKeys) -> Iterator[Finding]:
    """Look whether card and key files are what the log says of its keys."""
    if keys != home.card.checkpoint_verifiers:
        yield Finding.warning(
            "log",
            "log_rotation_unfinished",
            "a rotation of the log's keys was cut off: the card does not name them yet",
            mend="Give the command again, `psishare party rotate-log-keys` or the same with `--finish`.",
        )
    left = stray_key_files(home, keys)
    if not left:
        return
    # Each of the two tidies up first and is then refused, so that neither changes which keys sign.
    act, reason = (
        ("", "log_rotation_pending") if keys.overlaps else (" --finish", "log_rotation_missing")
    )
    yield Finding.warning(
        "log",
        "log_keys_left",
        f"{len(left)} key files are of no keys that sign the log, the first is {left[0].name}",
        mend=f"Give `psishare party rotate-log-keys{act}`: it destroys what was retired, and then says"
        f" `{reason}`. What is left was never used, and the next rotation destroys it.",
    )


def _known_size(home: Home) -> int:
    """Return how many entries the log must have, by what state and datasets say of it."""
    sizes = [0]
    for entry in home.datasets_path.glob("*/epoch-*/**/entry"):
        with contextlib.suppress(OSError, ValueError):
            sizes.append(int(entry.read_text(encoding="ascii")) + 1)
    for row in _rows(home):
        sizes.append(row.log_size)
        if row.closed_index is not None:
            sizes.append(row.closed_index + 1)
    return max(sizes)


def state(home: Home) -> Iterator[Finding]:
    """Look whether the state file is whole, and of a version that is read here."""
    path = home.state_path
    if not path.exists():
        yield Finding.fine("state", "there is none yet: no exchange has been run")
        return
    if not _is_whole(home):
        yield Finding.fault(
            "state",
            "state_invalid",
            f"{path} is damaged",
            mend="Stop using the home, and restore the newest copy of all of it; without the right"
            " budgets, have the open mandates replaced.",
        )
        return
    Budget(path).close()
    yield Finding.fine("state", f"whole; exchanges: {len(_rows(home)):,}")


def _is_whole(home: Home) -> bool:
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{home.state_path}?mode=ro", uri=True, timeout=30)
        ) as database:
            return bool(database.execute("PRAGMA quick_check").fetchall() == [("ok",)])
    except sqlite3.Error:
        return False


def exchanges(home: Home) -> Iterator[Finding]:
    """Look which exchanges have not come to their end."""
    running = _runs(home)
    rows = _rows(home)
    pending = [row for row in rows if row.state is State.PENDING]
    if pending:
        peers = ", ".join(sorted({row.peer for row in pending}))
        yield Finding.warning(
            "exchanges",
            "exchange_pending",
            f"the receipts of {len(pending)} exchanges with {peers} are signed here alone",
            mend="Run `match` with that platform, or start `serve`: they are asked for, and recorded.",
        )
    held = [row for row in rows if row.state is State.HELD]
    if held:
        yield Finding.warning(
            "exchanges",
            "exchange_held",
            f"{len(held)} offers wait for a second operator of the platform",
            mend="There, look at each with `psishare approve --show`, and approve or refuse it; they"
            " lapse by themselves.",
        )
    left = [row for row in rows if row.state in {State.OFFERED, State.OPENED}]
    if left and not running:
        yield Finding.warning(
            "exchanges",
            "exchange_interrupted",
            f"{len(left)} exchanges are open, and no process works on them",
            mend="The next `serve` or `match` takes them up or records how they ended; see"
            " `psishare exchange list`.",
        )
    elif not pending and not held:
        work = f"{len(left)} are under way" if left else "none is open"
        yield Finding.fine("exchanges", work)


def erasure(home: Home) -> Iterator[Finding]:
    """Look whether an authority still keeps what its mandates want destroyed by now."""
    archive, overdue = MandateArchive(home.mandates_path), 0
    for row in _rows(home):
        folder = home.exchange_path(row.exchange_id)
        envelope = archive.get(Offer.parse(row.offer).mandate_sha256) if folder.exists() else None
        by = read_envelope(envelope).mandate.erase_by if envelope is not None else None
        overdue += by is not None and by < now() and any(folder.iterdir())
    if overdue:
        yield Finding.warning(
            "erasure",
            "erasure_overdue",
            f"{overdue} exchanges keep openings or elements past their mandates' `erase_by`",
            mend="Delete their files, as docs/operations.md says under retention and erasure; "
            "`psishare exchange list` names the exchanges.",
        )
    else:
        yield Finding.fine("erasure", "nothing is kept past a mandate's `erase_by`")


def _rows(home: Home) -> list[Row]:
    if not home.state_path.exists() or not _is_whole(home):
        return []
    with contextlib.closing(Register(home.state_path, home.path / "run")) as register:
        return register.rows()


def _runs(home: Home) -> bool:
    """Tell whether another process works on this home: it holds its lock file."""
    for path in (home.path / "run").glob("*-*.lock"):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False
