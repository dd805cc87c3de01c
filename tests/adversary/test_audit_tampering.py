"""A log's folder in which something was changed: each change is found, and named."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from audit_examples import ORIGIN, create_log, first_entry, heartbeats, make_party

from psishare.audit.checkpoint import Checkpoint, parse_checkpoint
from psishare.audit.cosignature import cosign
from psishare.audit.entry import Heartbeat
from psishare.audit.layout import CHECKPOINT, CHECKPOINTS, INTENT, LOCK
from psishare.audit.log import Log
from psishare.audit.note import NoteSignature, SignedNote
from psishare.audit.peer_view import verify_extension
from psishare.audit.signed_checkpoint import sign_checkpoint
from psishare.audit.tile import join_bundle, split_bundle
from psishare.audit.verify_log import LogVerdict, verify_log_folder
from psishare.errors import AuditError, ExitCode, InternalError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable

PARTY = make_party()
COSIGNER = make_party("telecom.example", seed=2)
BUNDLE = "tile/entries/000.p/4"
TILE = "tile/0/000.p/4"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a log of four entries with checkpoints of sizes 0, 1, 3 and 4."""
    folder = tmp_path_factory.mktemp("original") / "log"
    log = create_log(folder)
    log.append_all(heartbeats(2))
    log.append(Heartbeat(failed_handshakes=5))
    log.add_cosignature(4, cosign(log.head(), COSIGNER.cosigners, time=9))
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def verify(folder: Path) -> LogVerdict:
    return verify_log_folder(folder, PARTY.verifiers, cosigner_keys=COSIGNER.cosigner_keys)


def refusal(folder: Path) -> str:
    with pytest.raises(VerificationError) as caught:
        verify(folder)
    assert caught.value.exit_code is ExitCode.AUDIT
    return caught.value.message


def test_the_untouched_folder_verifies_and_so_does_a_read_only_copy(folder: Path) -> None:
    verdict = verify(folder)
    assert (verdict.head.origin, verdict.head.tree_size) == (ORIGIN, 4)
    assert (verdict.n_checkpoints, verdict.unfinished) == (4, ())
    assert verdict.cosigners == {COSIGNER.name: 4}
    assert verdict.entries_by_type == {"heartbeat": 3, "log.created": 1}
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o500 if path.is_dir() else 0o400)
    verify(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


def test_every_flipped_byte_is_found(folder: Path) -> None:
    numbers = random.Random(5)
    for path in sorted(folder.rglob("*")):
        # The lock is empty; what it held would mean nothing.
        if path.is_dir() or path.name == LOCK:
            continue
        data = path.read_bytes()
        is_note = path.name == CHECKPOINT or path.parent.name == CHECKPOINTS
        places = list(range(len(data)))
        if is_note:
            places = sorted(
                {*range(140), *numbers.sample(range(140, len(data)), 40), len(data) - 1}
            )
        for place in places:
            changed = bytearray(data)
            changed[place] ^= 1 << numbers.randrange(8)
            path.write_bytes(changed)
            refusal(folder)
        path.write_bytes(data)
    verify(folder)


def test_every_truncated_and_lengthened_file_is_found(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name == LOCK:
            continue
        data = path.read_bytes()
        for changed in (data[:-1], data[:-32], b"", data + b"\0", data + data):
            path.write_bytes(changed)
            refusal(folder)
        path.write_bytes(data)


def test_every_missing_file_that_carries_anything_is_found(folder: Path) -> None:
    # What a larger partial tile repeats, and the lock, may be missing.
    spare = {LOCK, *(f"tile/{kind}/000.p/{width}" for kind in ("0", "entries") for width in (1, 3))}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            continue
        data = path.read_bytes()
        path.unlink()
        if name in spare:
            verify(folder)
        elif name == CHECKPOINT:
            with pytest.raises(AuditError):
                verify(folder)
        elif name not in {f"{CHECKPOINTS}/{size}" for size in (0, 1, 3)}:
            assert "missing" in refusal(folder)
        path.write_bytes(data)


def rewrite(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the entries of the open bundle and leave everything else."""
    path = folder / BUNDLE
    path.write_bytes(join_bundle(change(split_bundle(path.read_bytes(), 4))))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda e: [e[0], e[2], e[1], e[3]], "checkpoint of the first 3 entries"),
        (lambda e: [e[0], e[1], e[3]], "3 entries instead of 4"),
        (lambda e: [*e, e[3]], "5 entries instead of 4"),
        (lambda e: [e[0], e[1], e[1], e[3]], "checkpoint of the first 3 entries"),
        (lambda e: [e[1], e[0], e[2], e[3]], "entry 0 is of type heartbeat"),
        (lambda e: [e[0], e[0], e[2], e[3]], "entry 1 is of type log.created"),
        (lambda e: [*e[:3], e[3].replace(b's":5', b's":7')], "checkpoint of the first 4 entries"),
        (lambda e: [e[0], e[1] + b" ", e[2], e[3]], "entry 1: a log entry"),
        (lambda e: [e[0], b"", e[2], e[3]], "entry 1: a log entry"),
        (
            lambda e: [first_entry("other.example").encode(), *e[1:]],
            "entry 0 is of type log.created",
        ),
    ],
)
def test_changed_entries_are_named(
    folder: Path, change: Callable[[list[bytes]], list[bytes]], named: str
) -> None:
    rewrite(folder, change)
    assert named in refusal(folder)


def rebuild(folder: Path, entries: list[bytes], party: object = PARTY) -> None:
    """Write the folder anew for other entries, signed by whoever holds the given keys."""
    forger = make_party(ORIGIN, seed=7) if party is not PARTY else PARTY
    parsed = [first_entry(), *(Heartbeat(failed_handshakes=n) for n in range(len(entries) - 1))]
    shutil.rmtree(folder)
    log = Log.create(folder, origin=ORIGIN, signer=forger.signer, pq_signer=forger.pq_signer)
    for entry in parsed:
        log.append(entry)


def test_a_log_signed_anew_with_other_keys_is_refused(folder: Path) -> None:
    rebuild(folder, [b""] * 4, party=None)
    with pytest.raises(VerificationError, match="no Ed25519 signature"):
        verify(folder)


def test_a_history_rewritten_under_the_right_keys_contradicts_older_checkpoints(
    folder: Path, original: Path
) -> None:
    rebuild(folder, [b""] * 4)
    verify_log_folder(folder, PARTY.verifiers)
    shutil.copy(original / CHECKPOINTS / "3", folder / CHECKPOINTS / "3")
    with pytest.raises(VerificationError, match="checkpoints/3 is not the checkpoint"):
        verify_log_folder(folder, PARTY.verifiers)


def test_a_history_rewritten_whole_contradicts_what_a_peer_remembers(
    folder: Path, original: Path
) -> None:
    known = parse_checkpoint((original / CHECKPOINTS / "3").read_bytes())
    rebuild(folder, [b""] * 5)
    log = Log.open(folder, origin=ORIGIN, signer=PARTY.signer, pq_signer=PARTY.pq_signer)
    with pytest.raises(VerificationError) as caught:
        verify_extension(
            known, log.checkpoint(), log.consistency_proof(3, log.size), PARTY.verifiers
        )
    assert caught.value.reason == "log_inconsistent"


@pytest.mark.parametrize("name", [CHECKPOINT, f"{CHECKPOINTS}/3"])
@pytest.mark.parametrize("kept", [0, 1])
def test_a_stripped_signature_is_found(folder: Path, name: str, kept: int) -> None:
    note = SignedNote.parse((folder / name).read_bytes())
    stripped = SignedNote(note.text, (note.signatures[kept],))
    (folder / name).write_bytes(stripped.serialise())
    assert "signature" in refusal(folder)


def test_a_checkpoint_in_another_s_place_is_found(folder: Path) -> None:
    shutil.copy(folder / CHECKPOINTS / "1", folder / CHECKPOINTS / "3")
    assert "checkpoints/3 is not the checkpoint of the first 3 entries" in refusal(folder)


def test_an_older_head_put_back_is_found(folder: Path) -> None:
    shutil.copy(folder / CHECKPOINTS / "3", folder / CHECKPOINT)
    assert "checkpoint is older than checkpoints/4" in refusal(folder)


def test_a_head_that_was_not_put_in_front_is_believed_when_the_intent_bears_it_out(
    folder: Path,
) -> None:
    newest = parse_checkpoint((folder / CHECKPOINT).read_bytes())
    shutil.copy(folder / CHECKPOINTS / "3", folder / CHECKPOINT)
    (folder / INTENT).write_text(newest.text())
    assert verify(folder).head == newest
    (folder / INTENT).write_text(Checkpoint(ORIGIN, 4, bytes(32)).text())
    assert "older" in refusal(folder)
    (folder / INTENT).write_text("garbage")
    assert "intent is malformed" in refusal(folder)


def test_a_wrong_cosignature_is_found(folder: Path) -> None:
    for name in (f"{CHECKPOINTS}/4", CHECKPOINT):
        note = SignedNote.parse((folder / name).read_bytes())
        own, cosignature = note.signatures[:3], note.signatures[3]
        data = bytearray(cosignature.signature)
        data[-1] ^= 1
        changed = NoteSignature(cosignature.name, cosignature.key_id, bytes(data))
        (folder / name).write_bytes(SignedNote(note.text, (*own, changed)).serialise())
    assert "cosignature of telecom.example is wrong" in refusal(folder)


def test_a_cosignature_that_the_stored_checkpoint_lacks_is_found(folder: Path) -> None:
    stranger = cosign(
        parse_checkpoint((folder / CHECKPOINT).read_bytes()), make_party("x", 4).cosigners, time=1
    )
    path = folder / CHECKPOINT
    path.write_bytes(path.read_bytes() + stranger)
    assert "differs from checkpoints/4" in refusal(folder)


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "checkpoints/04",
        "checkpoints/+4",
        "checkpoints/4.bak",
        "checkpoints/old/4",
        "tile/0/000.p/04",
        "tile/0/000.p/x",
        "tile/0/005",
        "tile/3/000",
        "tile/entries/007.p/1",
        "tile/entries/.hidden",
        "tile/log.txt",
    ],
)
def test_a_file_that_does_not_belong_there_is_named(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    (folder / name).write_bytes(b"x")
    assert f"{name} does not belong to the log" in refusal(folder)


@pytest.mark.parametrize(
    "name", ["tile/0/000.p/6", "tile/entries/000", "tile/0/001.p/4", ".checkpoint.1-2.tmp"]
)
def test_what_a_cut_off_append_leaves_is_told_and_is_no_fault(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    (folder / name).write_bytes(b"x")
    assert verify(folder).unfinished == (name,)


def test_checkpoints_that_nothing_stands_behind_are_named(folder: Path) -> None:
    forged = sign_checkpoint(
        Checkpoint(ORIGIN, 9, bytes(32)), PARTY.signer, PARTY.pq_signer, time=1
    )
    (folder / CHECKPOINT).write_bytes(forged.serialise())
    assert "is missing" in refusal(folder)
    (folder / CHECKPOINTS / "9").write_bytes(forged.serialise())
    assert "is missing" in refusal(folder)


def test_another_log_s_folder_or_keys_are_refused(folder: Path) -> None:
    with pytest.raises(VerificationError, match="another log"):
        verify_log_folder(folder, COSIGNER.verifiers)
    with pytest.raises(InternalError):
        verify_log_folder(folder, PARTY.verifiers[:1])
    with pytest.raises(AuditError, match="no log"):
        verify_log_folder(folder / "tile", PARTY.verifiers)
