"""Collect the evidence of one exchange, verify it, and see two forgeries found out.

Run it with ``python two_forgeries.py``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PARTIES = ("tele", "police")


def main() -> None:
    """Audit the honest logs, then a changed one, then one that was cut short."""
    with tempfile.TemporaryDirectory(prefix="psishare-example-") as name:
        folder = Path(name)
        rows = exchange_and_collect(folder / "parties", folder / "evidence")
        say("The evidence, as the parties handed it over:")
        require(as_expected=audit(folder / "evidence") == 0)

        say("\nThe platform's log says that one row less was asked:")
        changed = shutil.copytree(folder / "evidence", folder / "changed")
        lessen(changed / "tele-log", rows)
        require(as_expected=audit(changed) == 8)

        say("\nThe authority's log is an old copy, from before the exchange:")
        old = shutil.copytree(folder / "evidence", folder / "old")
        cut(old / "police-log", 2)
        require(as_expected=audit(old) == 8)


def exchange_and_collect(parties: Path, evidence: Path) -> int:
    """Run one exchange; take of each party what an auditor gets: its log and its card.

    Returns:
        How many rows were asked.
    """
    run("demo", "--rows", "1000", "--keep", str(parties), "--json")
    evidence.mkdir()
    for party in PARTIES:
        shutil.copytree(parties / party / "log", evidence / f"{party}-log")
        card = str(evidence / f"{party}.card")
        run("party", "export", "--home", str(parties / party), card)
    listed = run("exchange", "list", "--home", str(parties / "tele"), "--json")
    return int(json.loads(listed)["exchanges"][0]["rows"])


def lessen(log: Path, rows: int) -> None:
    """Let every entry say that fewer rows were asked: ``rows`` becomes one less, wherever it stands.

    Args:
        log: a log's folder.
        rows: the number to lessen, of as many digits as one less.
    """
    for bundle in (log / "tile" / "entries").rglob("*"):
        if bundle.is_file():
            data = bundle.read_bytes()
            bundle.write_bytes(data.replace(b'"rows":%d,' % rows, b'"rows":%d,' % (rows - 1)))


def cut(log: Path, n_entries: int) -> None:
    """Put a log of fewer than 256 entries back to its first ones, as a restored old copy would be.

    Every signature that is left is genuine.

    Args:
        log: a log's folder.
        n_entries: how many entries are left.
    """
    for later in (log / "checkpoints").iterdir():
        if int(later.name) > n_entries:
            later.unlink()
    for later in (log / "tile").rglob("*.p/*"):
        if int(later.name) > n_entries:
            later.unlink()
    shutil.copyfile(log / "checkpoints" / str(n_entries), log / "checkpoint")


def run(*arguments: str) -> str:
    """Run psishare and return what it prints."""
    return subprocess.run(
        [sys.executable, "-m", "psishare.cli", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def audit(evidence: Path) -> int:
    """Run the auditor's program in a folder of evidence, and return its exit code."""
    trust = [word for party in PARTIES for word in ("--trust", f"{party}.card")]
    logs = [f"{party}-log" for party in PARTIES]
    program = [sys.executable, str(HERE / "audit.py"), *trust, *logs]
    return subprocess.run(program, cwd=evidence, check=False).returncode


def say(text: str) -> None:
    """Print before the next program does."""
    print(text, flush=True)


def require(*, as_expected: bool) -> None:
    """End with a fault where the audit did not end as it must."""
    if not as_expected:
        sys.exit("the audit did not end as it must")


if __name__ == "__main__":
    main()
