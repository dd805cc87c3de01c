"""A log whose disk fails, or whose process dies, at every single operation of an append."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from audit_examples import ORIGIN, create_log, heartbeats, make_party, open_log, ticking

from psishare.audit.checkpoint import Checkpoint
from psishare.audit.cosignature import cosign
from psishare.audit.entry import Heartbeat
from psishare.audit.layout import CHECKPOINT, CHECKPOINTS
from psishare.audit.log import Log
from psishare.audit.merkle import leaf_hash, tree_hash
from psishare.audit.verify_log import verify_log_folder
from psishare.errors import AuditError, ExitCode, PsishareError
from psishare.keys.note_key import NoteSigner, SignatureType
from psishare.keys.signer import Ed25519Signer

if TYPE_CHECKING:
    from collections.abc import Callable

    from psishare.keys.signer import Algorithm

PARTY = make_party()


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let synchronising cost nothing: no power fails here, and each call still counts."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


class Crash(BaseException):
    """The process is gone: nothing that follows can touch the disk."""


class RecordingSigner:
    """The log's Ed25519 key, which remembers every tree that it was made to sign."""

    algorithm: Algorithm = "ed25519"

    def __init__(self) -> None:
        self._signer = Ed25519Signer.from_secret_bytes(bytes([1]) * 32)
        self.public_key = self._signer.public_key
        self.signed: dict[int, set[bytes]] = {}
        self.watched: list[str] = []
        self.places: list[int] = []

    def sign(self, message: bytes) -> bytes:
        checkpoint = Checkpoint.parse_text(message.decode())
        self.places.append(len(self.watched))
        self.signed.setdefault(checkpoint.tree_size, set()).add(checkpoint.root_hash)
        return self._signer.sign(message)

    def require_no_fork(self) -> None:
        assert all(len(roots) == 1 for roots in self.signed.values())


@dataclass
class Disk:
    """Counts what changes the disk, and fails at one of these operations.

    ``kills`` makes the process die there: every later operation fails too. ``tears`` lets a write
    through in part.
    """

    fails_at: int | None = None
    kills: bool = False
    tears: bool = False
    operations: list[str] = field(default_factory=list)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(os, "write", self._wrapped("write", os.write))
        for name in ("fsync", "fchmod"):
            patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
        patch.setattr(os, "open", self._wrapped_open(os.open))
        for name in ("rename", "unlink", "mkdir", "rmdir"):
            patch.setattr(Path, name, self._wrapped(name, getattr(Path, name)))

    def _wrapped(self, name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            if self._is_hit(name):
                if self.tears and name == "write":
                    operation(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                self._fail()
            return operation(*arguments, **named)

        return run

    def _wrapped_open(self, operation: Callable[..., int]) -> Callable[..., int]:
        def run(path: Any, flags: int, *more: Any, **named: Any) -> int:
            if flags & os.O_CREAT and self._is_hit("open"):
                self._fail()
            return operation(path, flags, *more, **named)

        return run

    def _is_hit(self, name: str) -> bool:
        place = len(self.operations)
        self.operations.append(name)
        if self.fails_at is None:
            return False
        return place == self.fails_at or (self.kills and place > self.fails_at)

    def _fail(self) -> None:
        if self.kills:
            raise Crash
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def open_recorded(folder: Path, recorder: RecordingSigner) -> Log:
    return Log.open(
        folder,
        origin=ORIGIN,
        signer=NoteSigner(ORIGIN, SignatureType.ED25519, recorder),
        pq_signer=PARTY.pq_signer,
        clock=ticking(),
    )


def make_base(folder: Path, size: int) -> None:
    log = create_log(folder)
    log.append_all(heartbeats(size - 1))


def count_operations(base: Path, folder: Path, n: int) -> int:
    shutil.copytree(base, folder)
    disk = Disk()
    with pytest.MonkeyPatch.context() as patch:
        log = open_log(folder)
        disk.install(patch)
        log.append_all(heartbeats(n))
    return len(disk.operations)


@pytest.mark.parametrize(("size", "n"), [(3, 1), (255, 2)])
@pytest.mark.parametrize("way", ["no space", "killed", "torn"])
def test_an_append_that_fails_at_any_operation_leaves_a_log_that_goes_on(
    tmp_path: Path, size: int, n: int, way: str
) -> None:
    base = tmp_path / "base"
    make_base(base, size)
    total = count_operations(base, tmp_path / "counted", n)
    assert total > 30
    outcomes = set()
    for fails_at in range(total):
        folder = tmp_path / "log"
        shutil.copytree(base, folder)
        recorder = RecordingSigner()
        log = open_recorded(folder, recorder)
        disk = Disk(fails_at, kills=way != "no space", tears=way == "torn")
        failed = append_on(disk, log, n)
        outcomes.add(failed)
        verdict = verify_log_folder(folder, PARTY.verifiers)
        assert verdict.head.tree_size in (size, size + n)
        was_signed = size + n in recorder.signed
        # Another process, or the next start.
        log = open_recorded(folder, recorder)
        recovered = log.size
        assert recovered in (size, size + n)
        if way == "no space" and not was_signed:
            # Whoever was told of a failure, and could still be told the truth, was.
            assert recovered == size
        if not failed:
            assert recovered == size + n
        appended = log.append(Heartbeat(failed_handshakes=99))
        assert appended.index == recovered
        verdict = verify_log_folder(folder, PARTY.verifiers)
        assert (verdict.head.tree_size, verdict.unfinished) == (recovered + 1, ())
        recorder.require_no_fork()
        shutil.rmtree(folder)
    assert any(outcomes)


def append_on(disk: Disk, log: Log, n: int) -> bool:
    """Append on a failing disk, and tell whether the caller saw it fail."""
    with pytest.MonkeyPatch.context() as patch:
        disk.install(patch)
        try:
            log.append_all(heartbeats(n))
        except Crash:
            return True
        except AuditError as error:
            failure = error
        else:
            return False
    assert (failure.reason, failure.exit_code) == ("log_write_failed", ExitCode.AUDIT)
    return True


def test_a_full_disk_shows_nothing_of_the_entry_and_the_same_process_goes_on(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "log"
    log = create_log(folder)
    before = log.checkpoint()
    with pytest.MonkeyPatch.context() as patch:
        Disk(fails_at=4).install(patch)
        with pytest.raises(AuditError, match="No space left"):
            log.append(Heartbeat(failed_handshakes=1))
    assert log.checkpoint() == before
    assert log.append(Heartbeat(failed_handshakes=2)).index == 1
    assert [path.name for path in folder.rglob(".*")] == []
    assert verify_log_folder(folder, PARTY.verifiers).unfinished == ()


def test_an_append_that_failed_after_it_was_decided_is_there_once_settled(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = create_log(folder)
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk()
        disk.install(patch)
        log.append(Heartbeat(failed_handshakes=1))
    last_rename = len(disk.operations) - 1 - disk.operations[::-1].index("rename")
    with pytest.MonkeyPatch.context() as patch:
        Disk(fails_at=last_rename).install(patch)
        with pytest.raises(AuditError):
            log.append(Heartbeat(failed_handshakes=2))
    assert log.size == 2
    assert log.settle().tree_size == log.size == 3


def test_nothing_is_signed_before_what_it_covers_is_durable(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    make_base(folder, 3)
    recorder = RecordingSigner()
    log = open_recorded(folder, recorder)
    disk = Disk()
    recorder.watched = disk.operations
    with pytest.MonkeyPatch.context() as patch:
        disk.install(patch)
        log.append(Heartbeat(failed_handshakes=1))
    (place,) = recorder.places
    durable_file = ["open", "fchmod", "write", "fsync", "rename", "fsync"]
    # The lock, then bundle, tile and intent; then, signed, the stored checkpoint and the newest.
    before = [name for name in disk.operations[:place] if name not in ("unlink", "mkdir", "rmdir")]
    assert before == ["open", *durable_file * 3]
    after = [name for name in disk.operations[place:] if name != "unlink"]
    assert after == durable_file * 2


def test_a_creation_that_fails_at_any_operation_is_made_again(tmp_path: Path) -> None:
    disk = Disk()
    with pytest.MonkeyPatch.context() as patch:
        disk.install(patch)
        create_log(tmp_path / "counted")
    for fails_at in range(len(disk.operations)):
        for kills in (True, False):
            folder = tmp_path / f"log-{fails_at}-{kills}"
            with pytest.MonkeyPatch.context() as patch:
                Disk(fails_at, kills=kills).install(patch)
                with contextlib.suppress(Crash, PsishareError):
                    create_log(folder)
            log = open_log(folder) if (folder / CHECKPOINT).exists() else create_log(folder)
            assert verify_log_folder(folder, PARTY.verifiers).head == log.head()


def test_a_cosignature_that_fails_at_any_operation_harms_no_checkpoint(tmp_path: Path) -> None:
    base = tmp_path / "base"
    make_base(base, 2)
    cosigner = make_party("telecom.example", seed=2)
    lines = cosign(open_log(base).head(), cosigner.cosigners, time=9)
    disk = Disk()
    with pytest.MonkeyPatch.context() as patch:
        shutil.copytree(base, tmp_path / "counted")
        log = open_log(tmp_path / "counted")
        disk.install(patch)
        log.add_cosignature(2, lines)
    for fails_at in range(len(disk.operations)):
        folder = tmp_path / f"log-{fails_at}"
        shutil.copytree(base, folder)
        log = open_log(folder)
        with pytest.MonkeyPatch.context() as patch:
            Disk(fails_at, kills=True).install(patch)
            with pytest.raises(Crash):
                log.add_cosignature(2, lines)
        verify_log_folder(folder, PARTY.verifiers, cosigner_keys=cosigner.cosigner_keys)
        open_log(folder).add_cosignature(2, lines)
        verdict = verify_log_folder(folder, PARTY.verifiers, cosigner_keys=cosigner.cosigner_keys)
        assert verdict.cosigners == {"telecom.example": 2}


WORKER = """
import sys
from pathlib import Path
from audit_examples import heartbeats, open_log
log = open_log(Path(sys.argv[1]))
n = 0
while True:
    n += 1
    appended = log.append_all(heartbeats(1 + n % 3))
    print(appended[0].index, appended[-1].index, flush=True)
"""


def start_worker(folder: Path) -> subprocess.Popen[str]:
    tests = Path(__file__).resolve().parents[1]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(
            [str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")]
        )
    }
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_processes_that_are_killed_while_they_append_leave_a_log_that_verifies(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "log"
    create_log(folder)
    numbers = random.Random(11)
    acknowledged = 0
    roots: dict[int, bytes] = {}
    for _ in range(3):
        workers = [start_worker(folder) for _ in range(2)]
        try:
            for worker in workers:
                assert worker.stdout
                for _line in range(numbers.randint(1, 8)):
                    acknowledged = max(acknowledged, int(worker.stdout.readline().split()[1]))
        finally:
            for worker in workers:
                worker.send_signal(signal.SIGKILL)
                with worker:
                    for line in worker.stdout or ():
                        if line.endswith("\n"):
                            acknowledged = max(acknowledged, int(line.split()[1]))
        verdict = verify_log_folder(folder, PARTY.verifiers)
        log = open_log(folder)
        assert log.size >= verdict.head.tree_size > acknowledged
        log.append(Heartbeat(failed_handshakes=0))
        verdict = verify_log_folder(folder, PARTY.verifiers)
        assert verdict.unfinished == ()
        # What was signed in an earlier life is still a part of the tree.
        leaves = [leaf_hash(entry) for entry in log.entries(0, log.size)]
        roots[log.size] = log.head().root_hash
        assert all(tree_hash(leaves[:size]) == root for size, root in roots.items())
        stored = {int(path.name) for path in (folder / CHECKPOINTS).iterdir()}
        assert verdict.n_checkpoints == len(stored)
