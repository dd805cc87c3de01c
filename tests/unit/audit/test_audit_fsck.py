"""``fsck``: every flipped byte of a small log's folder is found, and named where it can be."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from audit_examples import create_log, heartbeats, make_party

from psishare.audit.cosignature import cosign
from psishare.audit.fsck import check_log_folder
from psishare.audit.layout import CHECKPOINT, CHECKPOINTS, LOCK
from psishare.errors import AuditError

EVERY_BYTE = "PSISHARE_EVERY_BYTE" in os.environ
PARTY = make_party()
COSIGNER = make_party("telecom.example", seed=2)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fsck") / "log"
    log = create_log(folder)
    log.append_all(heartbeats(2))
    log.add_cosignature(3, cosign(log.head(), COSIGNER.cosigners, time=9))
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def faults(folder: Path) -> list[tuple[str, int | None]]:
    report = check_log_folder(folder, PARTY.verifiers, cosigner_keys=COSIGNER.cosigner_keys)
    assert (report.verdict is None) == bool(report.faults)
    return [(fault.path, fault.byte) for fault in report.faults]


def test_a_whole_folder_has_no_fault(folder: Path) -> None:
    assert faults(folder) == []


def test_every_flipped_byte_is_found_and_the_first_that_differs_is_named(folder: Path) -> None:
    numbers = random.Random(3)
    for path in sorted(folder.rglob("*")):
        # The lock is empty, and what it held would mean nothing: no byte of it matters.
        if path.is_dir() or path.name == LOCK:
            continue
        data, name = path.read_bytes(), path.relative_to(folder).as_posix()
        is_note = path.name == CHECKPOINT or path.parent.name == CHECKPOINTS
        text = data.index(b"\n\n") + 1 if is_note else len(data)
        # Base64 of one signature is like that of the next: some bytes of each stand for all here, and
        # `make campaign` flips every one.
        signatures = range(text + is_note, len(data))
        n_flips = len(signatures) if EVERY_BYTE else 25 * is_note
        places = [*range(text + is_note), *sorted(numbers.sample(signatures, n_flips))]
        if name == "tile/entries/000.p/1" and not EVERY_BYTE:
            # It repeats the beginning of the wider one, of which every byte is flipped.
            places = places[::10]
        for place in places:
            changed = bytearray(data)
            changed[place] ^= 0xFF
            path.write_bytes(changed)
            found = faults(folder)
            assert found, (name, place)
            # The empty line after a note's text counts to it.
            if place <= text and (place < text or is_note):
                assert (name, place) in found, (name, place, found)
            elif name != CHECKPOINT:
                assert name in {path for path, _byte in found} or found == [("", None)]
        path.write_bytes(data)


def test_a_flipped_byte_of_an_entry_is_told_from_one_of_its_hash(folder: Path) -> None:
    bundle, tile = folder / "tile/entries/000.p/3", folder / "tile/0/000.p/3"
    data = bytearray(bundle.read_bytes())
    data[40] ^= 1
    bundle.write_bytes(data)
    assert faults(folder) == [("tile/entries/000.p/3", 40)]
    data[40] ^= 1
    bundle.write_bytes(data)
    hashes = bytearray(tile.read_bytes())
    hashes[70] ^= 1
    tile.write_bytes(hashes)
    assert faults(folder) == [("tile/0/000.p/3", 70)]


def test_several_files_at_fault_are_all_named(folder: Path) -> None:
    for name, place in (("tile/0/000.p/1", 3), ("tile/entries/000.p/3", 60), ("checkpoints/1", 20)):
        data = bytearray((folder / name).read_bytes())
        data[place] ^= 1
        (folder / name).write_bytes(data)
    assert set(faults(folder)) == {
        ("tile/0/000.p/1", 3),
        ("tile/entries/000.p/3", 60),
        ("checkpoints/1", 20),
    }


def test_a_missing_tile_and_a_cut_bundle_are_named(folder: Path) -> None:
    (folder / "tile/0/000.p/3").unlink()
    assert faults(folder) == [("tile/0/000.p/3", None)]
    (folder / "tile/0/000.p/3").write_bytes(b"")
    found = faults(folder)
    assert found == [("tile/0/000.p/3", 0)]


def test_a_folder_without_a_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="no log"):
        check_log_folder(tmp_path, PARTY.verifiers)
