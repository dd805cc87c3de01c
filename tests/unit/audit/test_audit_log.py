from __future__ import annotations

import stat
import threading
from typing import TYPE_CHECKING

import pytest
from audit_examples import (
    CLOCK,
    ORIGIN,
    PEER,
    create_log,
    first_entry,
    heartbeats,
    make_party,
    open_log,
)

from psishare.audit import log as log_module
from psishare.audit.checkpoint import Checkpoint, parse_checkpoint
from psishare.audit.cosignature import cosign, verify_cosignature
from psishare.audit.entry import Heartbeat, LogCreated
from psishare.audit.layout import CHECKPOINT, CHECKPOINTS, INTENT, LOCK
from psishare.audit.log import SWEPT_AT_ONCE, Log
from psishare.audit.merkle import leaf_hash, tree_hash, verify_consistency, verify_inclusion
from psishare.audit.note import SignedNote
from psishare.audit.signed_checkpoint import verify_checkpoint
from psishare.audit.verify_log import verify_log_folder
from psishare.errors import AuditError, InternalError, VerificationError

if TYPE_CHECKING:
    from pathlib import Path

PARTY = make_party()
COSIGNER = make_party(PEER, seed=2)


def test_a_new_log_has_a_signed_empty_tree_and_then_its_first_entry(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    assert log.size == 1
    assert parse_checkpoint(log.checkpoint(0)).tree_size == 0
    assert log.head() == verify_checkpoint(log.checkpoint(), PARTY.verifiers)
    assert log.head().root_hash == leaf_hash(log.entry(0))


def test_an_appended_entry_is_under_the_checkpoint_that_comes_with_it(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    for n in range(1, 6):
        appended = log.append(Heartbeat(failed_handshakes=n))
        head = verify_checkpoint(appended.checkpoint, PARTY.verifiers)
        assert (appended.index, head.tree_size) == (n, n + 1)
        assert log.entry(n) == appended.entry
        proof = log.inclusion_proof(n, n + 1)
        verify_inclusion(leaf_hash(appended.entry), n, n + 1, proof, head.root_hash)


def test_several_entries_go_under_one_checkpoint(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    appended = log.append_all(heartbeats(256))
    assert [each.index for each in appended] == list(range(1, 257))
    assert {each.checkpoint for each in appended} == {log.checkpoint()}
    assert sorted(path.name for path in (tmp_path / "log" / CHECKPOINTS).iterdir()) == [
        "0",
        "1",
        "257",
    ]
    for n in (0, 257):
        with pytest.raises(InternalError):
            log.append_all(heartbeats(n))


def test_proofs_hold_between_all_sizes_across_a_full_tile(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    for n in (250, 3, 1, 1, 1, 4, 256):
        log.append_all(heartbeats(n))
    size = log.size
    assert size == 517
    entries = list(log.entries(0, size))
    leaves = [leaf_hash(entry) for entry in entries]
    assert log.head().root_hash == tree_hash(leaves)
    for tree_size in (1, 2, 255, 256, 257, 511, 512, 513, size):
        root = tree_hash(leaves[:tree_size])
        for index in {0, tree_size // 2, tree_size - 1}:
            proof = log.inclusion_proof(index, tree_size)
            verify_inclusion(leaves[index], index, tree_size, proof, root)
        for old in (0, 1, tree_size // 2, tree_size - 1, tree_size):
            proof = log.consistency_proof(old, tree_size)
            verify_consistency(old, tree_hash(leaves[:old]), tree_size, root, proof)
    assert list(log.entries(254, 258)) == entries[254:258]
    assert list(log.entries(7, 7)) == []


def test_what_the_log_does_not_have_is_refused(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    for ask in (
        lambda: log.entry(1),
        lambda: log.entry(-1),
        lambda: list(log.entries(0, 2)),
        lambda: log.inclusion_proof(1, 1),
        lambda: log.inclusion_proof(0, 2),
        lambda: log.consistency_proof(2, 1),
        lambda: log.consistency_proof(0, 2),
        lambda: log.checkpoint(7),
    ):
        with pytest.raises(AuditError):
            ask()


def test_full_tiles_replace_the_partial_ones_in_time(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    for _ in range(40):
        log.append_all(heartbeats(6))
    log.append_all(heartbeats(30))
    partial = tmp_path / "log" / "tile" / "entries" / "000.p"
    assert log.size == 271
    n_spent = len(list(partial.iterdir()))
    assert n_spent == 41
    for appends in range(1, 22):
        log.append_all(heartbeats(1))
        n_left = len(list(partial.iterdir())) if partial.exists() else 0
        assert n_left == max(0, n_spent - appends * SWEPT_AT_ONCE)
    assert not partial.exists()
    assert (tmp_path / "log" / "tile" / "entries" / "000").is_file()
    assert verify_log_folder(tmp_path / "log", PARTY.verifiers).head.tree_size == 292


def test_a_log_is_opened_again_and_goes_on(tmp_path: Path) -> None:
    create_log(tmp_path / "log").append_all(heartbeats(3))
    log = open_log(tmp_path / "log")
    assert log.size == 4
    log.append(Heartbeat(failed_handshakes=9))
    verdict = verify_log_folder(tmp_path / "log", PARTY.verifiers)
    assert verdict.entries_by_type == {"heartbeat": 4, "log.created": 1}
    assert (verdict.n_checkpoints, verdict.unfinished) == (4, ())


def test_a_log_is_never_made_over_another(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    before = log.checkpoint()
    for lost in (None, CHECKPOINT, "tile", CHECKPOINTS):
        if lost:
            (tmp_path / "log" / lost).rename(tmp_path / lost)
        if lost == CHECKPOINTS:
            (tmp_path / CHECKPOINT).rename(tmp_path / "log" / CHECKPOINT)
        with pytest.raises(AuditError) as caught:
            create_log(tmp_path / "log")
        assert caught.value.reason == "log_exists"
    assert (tmp_path / "log" / CHECKPOINT).read_bytes() == before


def test_a_creation_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    Log.create(folder, origin=ORIGIN, signer=PARTY.signer, pq_signer=PARTY.pq_signer)
    (folder / CHECKPOINT).unlink()
    assert create_log(folder).size == 1


def test_a_missing_log_is_not_made_by_opening_it(tmp_path: Path) -> None:
    with pytest.raises(AuditError) as caught:
        open_log(tmp_path / "log")
    assert caught.value.reason == "log_missing"
    assert not (tmp_path / "log").exists()


def test_a_log_is_not_opened_with_other_keys(tmp_path: Path) -> None:
    create_log(tmp_path / "log")
    with pytest.raises(AuditError) as caught:
        open_log(tmp_path / "log", make_party(seed=5))
    assert caught.value.reason == "log_keys_unknown"
    with pytest.raises(VerificationError):
        open_log(tmp_path / "log", make_party("other.example"))
    with pytest.raises(InternalError):
        Log.open(tmp_path / "log", origin="x", signer=PARTY.signer, pq_signer=PARTY.pq_signer)
    with pytest.raises(InternalError):
        Log.create(tmp_path / "new", origin=ORIGIN, signer=PARTY.signer, pq_signer=PARTY.signer)


def test_the_first_entry_and_no_other_tells_of_the_creation(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = Log.create(folder, origin=ORIGIN, signer=PARTY.signer, pq_signer=PARTY.pq_signer)
    other = LogCreated(party="other.example", role="authority", card_sha256="ab" * 32)
    for entry in (Heartbeat(failed_handshakes=0), other):
        with pytest.raises(InternalError):
            log.append(entry)
    log.append(first_entry())
    with pytest.raises(InternalError):
        log.append(first_entry())
    assert log.size == 1


def test_everything_in_the_folder_is_its_owner_s_alone(tmp_path: Path) -> None:
    create_log(tmp_path / "log").append_all(heartbeats(2))
    for path in [tmp_path / "log", *(tmp_path / "log").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_cosignatures_are_kept_with_their_checkpoint(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    lines = cosign(log.head(), COSIGNER.cosigners, time=CLOCK)
    log.add_cosignature(1, lines)
    log.add_cosignature(1, lines)
    assert log.checkpoint() == log.checkpoint(1)
    assert len(SignedNote.parse(log.checkpoint()).signatures) == 4
    log.append(Heartbeat(failed_handshakes=1))
    log.add_cosignature(
        1, cosign(parse_checkpoint(log.checkpoint(1)), make_party("w", 4).cosigners, time=9)
    )
    assert len(SignedNote.parse(log.checkpoint(1)).signatures) == 6
    assert len(SignedNote.parse(log.checkpoint()).signatures) == 2
    verdict = verify_log_folder(
        tmp_path / "log", PARTY.verifiers, cosigner_keys=COSIGNER.cosigner_keys
    )
    assert verdict.cosigners == {PEER: 1}
    with pytest.raises(AuditError):
        log.add_cosignature(5, lines)
    with pytest.raises(VerificationError):
        log.add_cosignature(1, b"no lines")


def test_the_time_of_signing_is_the_clock_s(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    note = SignedNote.parse(log.checkpoint())
    key = PARTY.pq_signer.key
    (signature,) = note.by(key)
    assert verify_cosignature(log.head(), key, signature) == CLOCK + 1


def test_threads_and_other_instances_take_turns(tmp_path: Path) -> None:
    create_log(tmp_path / "log")
    failures: list[BaseException] = []

    def work() -> None:
        try:
            log = open_log(tmp_path / "log")
            for n in range(5):
                log.append(Heartbeat(failed_handshakes=n))
        except BaseException as error:  # noqa: BLE001  shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    verdict = verify_log_folder(tmp_path / "log", PARTY.verifiers)
    assert (verdict.head.tree_size, verdict.n_checkpoints) == (21, 22)


def test_a_log_that_another_process_holds_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = create_log(tmp_path / "log")
    monkeypatch.setattr(log_module, "LOCK_TIMEOUT_S", 0.0)
    with open_log(tmp_path / "log")._writing(), pytest.raises(AuditError) as caught:
        log.append(Heartbeat(failed_handshakes=1))
    assert caught.value.reason == "log_busy"
    assert log.append(Heartbeat(failed_handshakes=1)).index == 1


def test_a_damaged_bundle_is_never_built_upon(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    log.append_all(heartbeats(2))
    path = tmp_path / "log" / "tile" / "entries" / "000.p" / "3"
    path.write_bytes(path.read_bytes().replace(b'"failed_handshakes":1', b'"failed_handshakes":2'))
    for attempt in (
        lambda: log.append(Heartbeat(failed_handshakes=3)),
        lambda: open_log(tmp_path / "log"),
    ):
        with pytest.raises(VerificationError) as caught:
            attempt()
        assert caught.value.reason == "log_damaged"
    assert log.size == 3


def test_a_damaged_tile_is_never_built_upon(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    path = tmp_path / "log" / "tile" / "0" / "000.p" / "1"
    path.write_bytes(bytes(32))
    for attempt in (
        lambda: log.append(Heartbeat(failed_handshakes=3)),
        lambda: open_log(tmp_path / "log"),
    ):
        with pytest.raises(VerificationError) as caught:
            attempt()
        assert caught.value.reason == "log_damaged"


def test_a_head_put_back_from_a_backup_is_not_signed_upon(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    old = log.checkpoint()
    log.append(Heartbeat(failed_handshakes=1))
    (tmp_path / "log" / CHECKPOINT).write_bytes(old)
    for attempt in (
        lambda: log.append(Heartbeat(failed_handshakes=2)),
        lambda: open_log(tmp_path / "log"),
    ):
        with pytest.raises(AuditError) as caught:
            attempt()
        assert caught.value.reason == "log_rolled_back"


def test_an_intent_that_the_tiles_do_not_bear_out_is_not_signed(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    path = tmp_path / "log" / INTENT
    path.write_text(Checkpoint(ORIGIN, 2, bytes(32)).text())
    with pytest.raises(VerificationError):
        log.append(Heartbeat(failed_handshakes=1))
    path.write_text("garbage")
    with pytest.raises(VerificationError):
        open_log(tmp_path / "log")
    path.write_text(Checkpoint(ORIGIN, 1, bytes(32)).text())
    assert open_log(tmp_path / "log").append(Heartbeat(failed_handshakes=1)).index == 1
    assert not path.exists()


def test_a_second_host_is_refused_until_the_log_is_given_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = create_log(tmp_path / "log")
    monkeypatch.setattr("psishare.audit.host.this_host", lambda: b"f" * 64)
    before = log.head()
    for act in (
        lambda: log.append(Heartbeat(failed_handshakes=0)),
        lambda: open_log(tmp_path / "log"),
        log.settle,
    ):
        with pytest.raises(AuditError) as caught:
            act()
        assert caught.value.reason == "log_elsewhere"
    assert log.head() == before
    (tmp_path / "log" / LOCK).unlink()
    assert open_log(tmp_path / "log").append(Heartbeat(failed_handshakes=0)).index == 1
