"""Keys of a log that follow one another: what verifies with which keys, and what no thief can do."""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from audit_examples import (
    ORIGIN,
    PEER,
    create_log,
    heartbeats,
    make_party,
    open_log,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from psishare.audit import log as log_module
from psishare.audit.checkpoint import Checkpoint, parse_checkpoint
from psishare.audit.fsck import check_log_folder
from psishare.audit.key_history import KeyHistory, retirement_entry, rotation_entry
from psishare.audit.log import Log
from psishare.audit.note import SignedNote
from psishare.audit.peer_view import verify_extension
from psishare.audit.signed_checkpoint import sign_checkpoint, verify_checkpoint
from psishare.audit.verify_log import verify_log_folder
from psishare.errors import AuditError, InternalError, VerificationError
from psishare.keys.durable_file import write_durably
from psishare.keys.log_keys import LogKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from audit_examples import Party

    from psishare.audit.entry import Entry, LogKeysRotated
    from psishare.keys.note_key import NoteKey, NoteSigner

OLD, NEW, THIEF, THIRD = (make_party(seed=seed) for seed in (1, 9, 17, 25))
ROTATED, RETIRED = 4, 7
"""Where the two entries stand in the log of these tests."""
FULL = LogKeys.of(OLD.verifiers).rotated(NEW.verifiers, ROTATED).retired(RETIRED)
OVERLAP = LogKeys.of(OLD.verifiers).rotated(NEW.verifiers, ROTATED)


def rotation(old: Party = OLD, new: Party = NEW) -> LogKeysRotated:
    return rotation_entry((old.signer, old.pq_signer), new.verifiers)


def forged(signers: tuple[NoteSigner, NoteSigner]) -> LogKeysRotated:
    """Return the rotation from the old pair to a new one, signed over their names by any keys."""

    class Posing:
        def __init__(self, signer: NoteSigner, key: NoteKey) -> None:
            self.key = key
            self.sign = signer.sign

    posing = [Posing(*each) for each in zip(signers, OLD.verifiers, strict=True)]
    return rotation_entry(posing, NEW.verifiers)  # type: ignore[arg-type]


def append_each(log: Log, entries: Sequence[Entry]) -> None:
    for entry in entries:
        log.append(entry)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log: four entries, the rotation, two in the overlap, the retirement, two more."""
    path = tmp_path_factory.mktemp("rotated") / "log"
    create_log(path)
    log = open_log(path, later=[NEW])
    append_each(log, [*heartbeats(3), rotation(), *heartbeats(2)])
    append_each(log, [retirement_entry(OLD.verifiers), *heartbeats(2)])
    return path


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    path = tmp_path / "log"
    shutil.copytree(original, path)
    return path


def note(folder: Path, size: int) -> bytes:
    return (folder / "checkpoints" / str(size)).read_bytes()


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(VerificationError) as caught:
        act()
    return caught.value.reason


def folder_refusal(folder: Path, keys: LogKeys | Sequence[NoteKey] = OLD.verifiers) -> str:
    """Return why a folder is refused; whatever it is, ``fsck`` has a fault to tell, too."""
    reason = refusal(lambda: verify_log_folder(folder, keys))
    assert check_log_folder(folder, keys).faults
    return reason


def put(folder: Path, size: int, data: bytes) -> None:
    (folder / "checkpoints" / str(size)).write_bytes(data)
    if size == max(int(path.name) for path in (folder / "checkpoints").iterdir()):
        (folder / "checkpoint").write_bytes(data)


def signed(checkpoint: Checkpoint, *parties: Party) -> bytes:
    """Sign a checkpoint as these parties' keys do."""
    notes = [sign_checkpoint(checkpoint, p.signer, p.pq_signer, time=1) for p in parties]
    return notes[0].with_signatures(s for each in notes[1:] for s in each.signatures).serialise()


# What verifies.


def test_each_size_is_signed_by_the_pairs_in_force(folder: Path) -> None:
    for size in range(10):
        signers = [OLD] if size <= ROTATED else [OLD, NEW] if size <= RETIRED + 1 else [NEW]
        lines = SignedNote.parse(note(folder, size)).signatures
        assert [line.key_id for line in lines] == [
            key.key_id for party in signers for key in party.verifiers
        ]


@pytest.mark.parametrize("keys", [OLD.verifiers, OVERLAP, FULL])
def test_the_folder_verifies_from_the_first_pair_on(
    folder: Path, keys: LogKeys | Sequence[NoteKey]
) -> None:
    verdict = verify_log_folder(folder, keys)
    assert (verdict.head.tree_size, verdict.keys) == (10, FULL)
    assert check_log_folder(folder, keys).faults == ()


def test_in_the_overlap_either_pair_s_holder_verifies_and_after_it_the_new_one_s(
    folder: Path,
) -> None:
    for size in range(10):
        assert verify_checkpoint(note(folder, size), FULL).tree_size == size
        assert verify_checkpoint(note(folder, size), OVERLAP).tree_size == size
        if size <= RETIRED + 1:
            assert verify_checkpoint(note(folder, size), OLD.verifiers).tree_size == size
        if size > ROTATED:
            assert verify_checkpoint(note(folder, size), NEW.verifiers).tree_size == size


def test_who_has_the_old_card_alone_is_told_to_get_the_newer_one(folder: Path) -> None:
    with pytest.raises(VerificationError) as caught:
        verify_checkpoint(note(folder, RETIRED + 2), OLD.verifiers)
    assert caught.value.reason == "checkpoint_invalid"
    assert "newest card" in caught.value.mend


def test_a_peer_s_remembered_head_is_extended_across_the_rotation(folder: Path) -> None:
    log = open_log(folder, later=[NEW])
    old = parse_checkpoint(note(folder, 3))
    for keys, size in ((OLD.verifiers, 6), (OVERLAP, 9), (FULL, 9)):
        proof = log.consistency_proof(3, size)
        assert verify_extension(old, note(folder, size), proof, keys).tree_size == size


@given(st.lists(st.sampled_from(["beat", "rotate", "retire"]), max_size=8))
@settings(max_examples=20, deadline=None)
def test_any_order_of_rotations_verifies_from_the_first_pair(
    tmp_path_factory: pytest.TempPathFactory, acts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("any") / "log"
    create_log(path)
    parties = [OLD, *(make_party(seed=seed) for seed in range(30, 39))]
    log = open_log(path, later=parties[1:])
    in_force, keys = [0], LogKeys.of(OLD.verifiers)
    for act in acts:
        if act == "rotate" and len(in_force) == 1:
            in_force.append(in_force[0] + 1)
            added = log.append(rotation(parties[in_force[0]], parties[in_force[1]]))
            keys = keys.rotated(parties[in_force[1]].verifiers, added.index)
        elif act == "retire" and len(in_force) == 2:
            added = log.append(retirement_entry(parties[in_force.pop(0)].verifiers))
            keys = keys.retired(added.index)
        else:
            log.append(*heartbeats(1))
    assert verify_log_folder(path, OLD.verifiers).keys == keys
    assert verify_log_folder(path, keys).head == log.head()


# What signs.


def test_a_process_that_has_the_log_open_signs_with_the_keys_that_another_brought(
    tmp_path: Path,
) -> None:
    create_log(tmp_path / "log")
    known: list[Party] = []
    running = open_log(tmp_path / "log", later=known)
    running.append(*heartbeats(1))
    known.append(NEW)
    other = open_log(tmp_path / "log", later=[NEW])
    other.append(rotation())
    running.append(*heartbeats(1))
    other.append(retirement_entry(OLD.verifiers))
    running.append(*heartbeats(1))
    assert verify_log_folder(tmp_path / "log", OLD.verifiers).keys.terms[1].first == 3


def test_without_the_keys_in_force_nothing_is_signed(folder: Path) -> None:
    before = note(folder, 9)
    with pytest.raises(AuditError) as caught:
        open_log(folder)
    assert caught.value.reason == "log_keys_unknown"
    (folder / "lock").unlink()
    overlapping = folder.with_name("overlap")
    create_log(overlapping)
    open_log(overlapping, later=[NEW]).append(rotation())
    log = open_log(overlapping)
    with pytest.raises(AuditError) as caught:
        log.append(*heartbeats(1))
    assert caught.value.reason == "log_keys_unknown"
    assert log.size == 2
    assert note(folder, 9) == before


def test_a_rotation_to_keys_that_are_not_here_is_not_appended(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    with pytest.raises(AuditError) as caught:
        log.append(rotation())
    assert (caught.value.reason, log.size) == ("log_keys_unknown", 1)


def test_an_entry_that_changes_keys_has_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    with pytest.raises(InternalError):
        log.append_all([rotation(), *heartbeats(1)])


@pytest.mark.parametrize("at", ["intent", "checkpoints/", "checkpoint"])
@pytest.mark.parametrize("step", ["rotate", "retire"])
def test_a_rotation_that_is_cut_off_at_any_write_is_signed_rightly_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, step: str
) -> None:
    path = tmp_path / "log"
    create_log(path)
    log = open_log(path, later=[NEW])
    entry: Entry = rotation()
    if step == "retire":
        log.append(entry)
        entry = retirement_entry(OLD.verifiers)

    def full(file: Path, *arguments: object, **named: object) -> None:
        if at in (file.name, f"{file.parent.name}/"):
            raise AuditError("full", mend="free space", reason="log_write_failed")
        write_durably(file, *arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(log_module, "write_durably", full)
        with pytest.raises(AuditError):
            log.append(entry)
    again = open_log(path, later=[NEW])
    decided = at != "intent"
    again.append(*heartbeats(1))
    keys = verify_log_folder(path, OLD.verifiers).keys
    assert (len(keys.terms) == 2) == (decided or step == "retire")
    assert keys.overlaps == (decided == (step == "rotate"))


# What no thief can do.


@pytest.mark.parametrize(
    "entry",
    [
        forged((THIEF.signer, THIEF.pq_signer)),
        forged((NEW.signer, NEW.pq_signer)),
        # Whoever has one of the two keys alone, or has broken its algorithm.
        forged((OLD.signer, THIEF.pq_signer)),
        forged((THIEF.signer, OLD.pq_signer)),
        rotation(old=THIEF),
        rotation(new=OLD),
        rotation(new=make_party(PEER, seed=9)),
        rotation(old=make_party(PEER)),
        rotation().model_copy(update={"party": PEER}),
        rotation().model_copy(update={"new": rotation(new=THIEF).new}),
        retirement_entry(OLD.verifiers),
        retirement_entry(NEW.verifiers),
    ],
)
def test_an_entry_that_the_keys_in_force_did_not_make_is_refused(
    tmp_path: Path, entry: Entry
) -> None:
    history = KeyHistory(OLD.verifiers)
    assert refusal(lambda: history.take(1, entry)) == "log_rotation_invalid"
    path = tmp_path / "log"
    create_log(path)
    # As the owner of the old keys would write it who does not keep to the rules.
    with suppress(InternalError):
        open_log(path, later=[NEW, THIEF, make_party(PEER, seed=9)]).append(entry)
        assert folder_refusal(path) == "log_rotation_invalid"


def test_a_second_rotation_within_the_overlap_is_refused(tmp_path: Path) -> None:
    create_log(tmp_path / "log")
    log = open_log(tmp_path / "log", later=[NEW, THIEF])
    append_each(log, [rotation(), rotation(NEW, THIEF)])
    assert folder_refusal(tmp_path / "log") == "log_rotation_invalid"


def test_a_retired_key_that_signs_a_later_checkpoint_is_refused(folder: Path) -> None:
    for size in (RETIRED + 2, 10):
        checkpoint = parse_checkpoint(note(folder, size))
        alone, beside = signed(checkpoint, OLD), signed(checkpoint, OLD, NEW)
        for data, reason in ((alone, "log_key_retired"), (beside, "log_key_retired")):
            assert refusal(partial(verify_checkpoint, data, FULL)) == reason
            put(folder, size, data)
            assert folder_refusal(folder) == reason
            put(folder, size, signed(checkpoint, NEW))
        assert refusal(partial(verify_checkpoint, alone, OVERLAP)) == "checkpoint_invalid"


def test_a_fork_under_the_old_key_after_the_rotation_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    fork = tmp_path / "fork"
    create_log(fork)
    append_each(open_log(fork), heartbeats(12))
    # The folder verifies for whoever knows of no rotation, as any fork does.
    assert verify_log_folder(fork, OLD.verifiers).head.tree_size == 13
    assert folder_refusal(fork, FULL) == "log_key_retired"
    assert folder_refusal(fork, OVERLAP) == "checkpoint_invalid"
    known = parse_checkpoint(note(folder, 3))
    forked = open_log(fork)
    assert (
        refusal(
            lambda: verify_extension(
                known, forked.checkpoint(), forked.consistency_proof(3, 13), OLD.verifiers
            )
        )
        == "log_inconsistent"
    )


def test_a_thief_s_own_rotation_is_refused_by_whoever_knows_the_true_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    create_log(path)
    log = open_log(path, later=[THIEF])
    append_each(log, [*heartbeats(3), rotation(new=THIEF), *heartbeats(2)])
    for keys in (OVERLAP, FULL):
        assert folder_refusal(path, keys) == "checkpoint_invalid"


@pytest.mark.parametrize("size", range(ROTATED + 1, RETIRED + 2))
@pytest.mark.parametrize("stripped", range(4))
def test_a_signature_stripped_in_the_overlap_is_found(
    folder: Path, size: int, stripped: int
) -> None:
    whole = SignedNote.parse(note(folder, size))
    kept = [line for place, line in enumerate(whole.signatures) if place != stripped]
    data = SignedNote(whole.text, tuple(kept)).serialise()
    assert refusal(lambda: verify_checkpoint(data, FULL)) == "checkpoint_invalid"
    keys = OLD.verifiers if stripped < 2 else OVERLAP
    assert refusal(lambda: verify_checkpoint(data, keys)) == "checkpoint_invalid"
    put(folder, size, data)
    assert folder_refusal(folder) == "checkpoint_invalid"


def test_a_wrong_signature_of_either_pair_refuses_the_whole_note(folder: Path) -> None:
    whole = SignedNote.parse(note(folder, ROTATED + 1))
    other = SignedNote.parse(signed(Checkpoint(ORIGIN, 5, bytes(32)), OLD, NEW))
    for place in range(4):
        lines = [
            (other if place == at else whole).signatures[at] for at in range(len(whole.signatures))
        ]
        data = SignedNote(whole.text, tuple(lines)).serialise()
        assert refusal(partial(verify_checkpoint, data, FULL)) == "checkpoint_invalid"


def test_the_first_checkpoint_under_both_pairs_must_be_there(folder: Path) -> None:
    (folder / "checkpoints" / str(ROTATED + 1)).unlink()
    assert refusal(lambda: verify_log_folder(folder, OLD.verifiers)) == "log_damaged"


def test_a_log_that_dates_its_rotation_otherwise_than_the_card_is_refused(folder: Path) -> None:
    first = LogKeys.of(OLD.verifiers)
    for keys in (
        first.rotated(NEW.verifiers, ROTATED - 1).retired(RETIRED),
        first.rotated(NEW.verifiers, ROTATED).retired(RETIRED).rotated(THIEF.verifiers, 8),
        first.rotated(NEW.verifiers, ROTATED - 1),
    ):
        assert folder_refusal(folder, keys) in {"log_keys_differ", "checkpoint_invalid"}


# What is no fault.


@pytest.mark.parametrize("second", [False, True])
def test_a_head_that_was_signed_but_not_yet_put_in_front_is_no_fault(
    tmp_path: Path, second: bool
) -> None:
    path = tmp_path / "log"
    create_log(path)
    log = open_log(path, later=[NEW, THIRD])
    append_each(log, [rotation(), *heartbeats(1)])
    if second:
        append_each(log, [retirement_entry(OLD.verifiers), rotation(NEW, THIRD), *heartbeats(1)])
    before = (path / "checkpoint").read_bytes()
    log.append(*heartbeats(1))
    # As a crash, or a copy, between the last two writes has it.
    text = parse_checkpoint((path / "checkpoint").read_bytes()).text()
    (path / "intent").write_bytes(text.encode())
    (path / "checkpoint").write_bytes(before)
    first_overlap = LogKeys.of(OLD.verifiers).rotated(NEW.verifiers, 1)
    for keys in (OLD.verifiers, first_overlap):
        assert verify_log_folder(path, keys).head.tree_size == log.size + 1
        assert check_log_folder(path, keys).faults == ()
    tile = path / "tile" / "0" / "000.p" / str(log.size + 1)
    data = bytearray(tile.read_bytes())
    data[0] ^= 1
    tile.write_bytes(data)
    faults = check_log_folder(path, OLD.verifiers).faults
    assert [path / fault.path for fault in faults] == [tile]


def test_threads_that_look_at_once_know_each_pair_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    create_log(path)
    both = threading.Barrier(2)

    def later() -> list[tuple[NoteSigner, NoteSigner]]:
        with suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.2)
        fresh = make_party(seed=9), make_party(seed=17)
        return [(party.signer, party.pq_signer) for party in fresh]

    running = Log.open(path, origin=ORIGIN, signer=OLD.signer, pq_signer=OLD.pq_signer, later=later)
    other = open_log(path, later=[NEW, THIEF])
    other.append(rotation())
    threads = [threading.Thread(target=running.head) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    running.append(*heartbeats(1))
    running.append(retirement_entry(OLD.verifiers))
    running.append(rotation(NEW, THIEF))
    running.append(retirement_entry(NEW.verifiers))
    running.append(*heartbeats(1))
    assert verify_log_folder(path, OLD.verifiers).head.tree_size == 7
    for size in range(8):
        lines = SignedNote.parse(note(path, size)).signatures
        assert len({line.key_id for line in lines}) == len(lines)


@pytest.mark.parametrize("keys", [OLD.verifiers, OVERLAP, FULL], ids=["old", "overlap", "full"])
@pytest.mark.parametrize("said", [b"1p", b"74", b"3", None], ids=["none", "more", "fewer", "lost"])
def test_fsck_names_no_other_file_where_the_newest_checkpoint_cannot_be_read(
    folder: Path, keys: LogKeys | Sequence[NoteKey], said: bytes | None
) -> None:
    newest = (folder / "checkpoint").read_bytes()
    assert b"\n10\n" in newest
    data = b"" if said is None else newest.replace(b"\n10\n", b"\n%s\n" % said)
    (folder / "checkpoint").write_bytes(data)
    assert [fault.path for fault in check_log_folder(folder, keys).faults] == ["checkpoint"]


@pytest.mark.parametrize("keys", [OLD.verifiers, OVERLAP, FULL], ids=["old", "overlap", "full"])
@pytest.mark.parametrize("name", ["11", "4096", "9" * 200])
def test_fsck_names_no_other_file_where_a_checkpoint_is_called_by_a_size_that_is_not_there(
    folder: Path, keys: LogKeys | Sequence[NoteKey], name: str
) -> None:
    shutil.copy(folder / "checkpoints" / "10", folder / "checkpoints" / name)
    assert [fault.path for fault in check_log_folder(folder, keys).faults] == [
        f"checkpoints/{name}"
    ]
