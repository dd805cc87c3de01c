"""The crash campaign, long form: processes that append are killed, and no log is ever the worse for it.

    python tests/audit_campaign.py [KILLS]

After every kill the folder verifies, what was acknowledged is in it, and every checkpoint that was ever
seen is one of the same history. The short form runs with the tests.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from audit_examples import create_log, make_party, open_log

from psishare.audit.checkpoint import parse_checkpoint
from psishare.audit.entry import Heartbeat
from psishare.audit.fsck import check_log_folder
from psishare.audit.merkle import Frontier, leaf_hash

KILLS = 500
LOG_ENTRIES = 2_000
"""A log that has grown so far makes way for a new one."""
WORKER = """
import sys
from pathlib import Path
from audit_examples import heartbeats, open_log
log = open_log(Path(sys.argv[1]))
print("ready", flush=True)
n = 0
while True:
    n += 1
    print(log.append_all(heartbeats(1 + n % 3))[-1].index, flush=True)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    """Start a process that appends for ever."""
    tests = Path(__file__).resolve().parent
    path = os.pathsep.join([str(tests), str(tests.parent)])
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )


def kill(workers: list[subprocess.Popen[str]], numbers: random.Random) -> int:
    """Kill processes one after the other at random moments; return the last index acknowledged."""
    last = 0
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    for worker in workers:
        # Whatever it is doing then: the moment is what the campaign draws.
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(numbers.uniform(0.0, 0.15))
        worker.send_signal(signal.SIGKILL)
    for worker in workers:
        with worker:
            for line in worker.stdout or ():
                if line.endswith("\n"):
                    last = max(last, int(line))
    return last


class Watched:
    """A log's folder, and every head of it that was ever seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.party = make_party()
        self.seen: dict[int, bytes] = {}
        create_log(folder)

    def check(self, acknowledged: int) -> int:
        """Require the folder to be sound, before anything mends it and afterwards; return its size."""
        self._note_heads()
        for _ in range(2):
            report = check_log_folder(self.folder, self.party.verifiers)
            assert report.faults == (), report.faults
            log = open_log(self.folder)
            appended = log.append(Heartbeat(failed_handshakes=0))
            assert appended.index > acknowledged
            self._note_heads()
        tree = Frontier()
        for data in log.entries(0, log.size):
            tree.add(leaf_hash(data))
            assert self.seen.get(tree.size, tree.root()) == tree.root(), "a fork"
        return log.size

    def _note_heads(self) -> None:
        for path in (self.folder / "checkpoints").iterdir():
            if path.name.isdecimal():
                checkpoint = parse_checkpoint(path.read_bytes())
                known = self.seen.setdefault(checkpoint.tree_size, checkpoint.root_hash)
                assert known == checkpoint.root_hash, "two trees of one size were signed"


def campaign(kills: int, folder: Path, seed: int) -> int:
    """Kill so many processes, and return how many entries their logs have."""
    numbers = random.Random(seed)
    n_entries, n_logs, done = 0, 1, 0
    watched = Watched(folder / "log-1")
    while done < kills:
        workers = [start(watched.folder) for _ in range(numbers.randint(1, 3))]
        try:
            acknowledged = kill(workers, numbers)
        finally:
            for worker in workers:
                worker.kill()
        done += len(workers)
        size = watched.check(acknowledged)
        if size > LOG_ENTRIES:
            n_entries += size
            n_logs += 1
            watched = Watched(folder / f"log-{n_logs}")
    return n_entries + watched.check(0)


def main() -> None:
    """Run the campaign with a seed that is printed, so that it can be run again."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 2**32
    began = time.monotonic()
    print(f"{kills} kills, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        n_entries = campaign(kills, Path(folder), seed)
    seconds = time.monotonic() - began
    print(f"{kills} kills, {n_entries} entries, no fork, every log sound, {seconds:.0f} s")


if __name__ == "__main__":
    main()
