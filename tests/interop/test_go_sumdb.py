"""Go's sumdb/note and sumdb/tlog read what psishare writes, and psishare what they write."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from audit_examples import create_log, heartbeats, make_party

from psishare.audit.checkpoint import Checkpoint
from psishare.audit.cosignature import cosign
from psishare.audit.merkle import leaf_hash, tree_hash, verify_consistency, verify_inclusion
from psishare.audit.note import SignedNote
from psishare.audit.tree import StoredTree
from psishare.errors import VerificationError
from psishare.keys.note_key import NoteKey

SOURCE = Path(__file__).parent / "go_sumdb" / "main.go"
MODULES = Path("/usr/share/gocode")
SIZE = 601


@pytest.fixture(scope="module")
def go_sumdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the program with Debian's packages alone, or skip where they are not there."""
    go = shutil.which("go")
    if go is None or not (MODULES / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("Go or golang.org/x/mod is not on this machine; `make interop` installs them")
    folder = tmp_path_factory.mktemp("go")
    program = folder / "go_sumdb"
    settings = {"GO111MODULE": "off", "GOPATH": str(MODULES), "GOCACHE": str(folder / "cache")}
    subprocess.run([go, "build", "-o", program, SOURCE], check=True, env=os.environ | settings)
    return program


def run(program: Path, *words: object, told: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *map(str, words)], input=told, capture_output=True, check=False, text=True
    )


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str, str]:
    """Write a log of many tiles; return its folder, its Ed25519 key and all its proofs."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    party = make_party()
    log = create_log(tmp_path / "log", party)
    sizes = [1]
    for n in (1, 2, 124, 127, 1, 1, 254, 90):
        log.append_all(heartbeats(n))
        sizes.append(log.size)
    assert log.size == SIZE
    log.add_cosignature(
        SIZE, cosign(log.head(), make_party("telecom.example", 2).cosigners, time=9)
    )
    proofs = {
        "inclusion": [_encoded(log.inclusion_proof(index, SIZE)) for index in range(SIZE)],
        "consistency": {size: _encoded(log.consistency_proof(size, SIZE)) for size in sizes},
    }
    return tmp_path / "log", party.signer.key.encode(), json.dumps(proofs)


def _encoded(hashes: list[bytes]) -> list[str]:
    return [base64.b64encode(each).decode() for each in hashes]


def test_a_log_that_psishare_wrote_verifies_in_go(
    go_sumdb: Path, written: tuple[Path, str, str]
) -> None:
    folder, key, proofs = written
    done = run(go_sumdb, "check", folder, key, told=proofs)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{SIZE} entries, 10 checkpoints\n"


def test_go_refuses_a_log_in_which_a_byte_was_changed(
    go_sumdb: Path, written: tuple[Path, str, str]
) -> None:
    folder, key, proofs = written
    for name in ("tile/0/001", "tile/entries/002.p/89", "tile/1/000.p/2", "checkpoints/2"):
        path = folder / name
        data = path.read_bytes()
        changed = bytearray(data)
        changed[20] ^= 1
        path.write_bytes(changed)
        assert run(go_sumdb, "check", folder, key, told=proofs).returncode != 0, name
        path.write_bytes(data)


def test_go_refuses_a_proof_in_which_a_hash_was_changed(
    go_sumdb: Path, written: tuple[Path, str, str]
) -> None:
    folder, key, text = written
    proofs = json.loads(text)
    proofs["inclusion"][300][0] = base64.b64encode(bytes(32)).decode()
    done = run(go_sumdb, "check", folder, key, told=json.dumps(proofs))
    assert "entry 300" in done.stderr


@pytest.fixture(scope="module")
def theirs(go_sumdb: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("theirs") / "log"
    done = run(go_sumdb, "write", folder, SIZE)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def _checkpoint(folder: Path, key: NoteKey, size: int) -> Checkpoint:
    note = SignedNote.parse((folder / "checkpoints" / str(size)).read_bytes())
    [signature] = note.by(key)
    key.verify(note.text.encode(), signature.signature)
    return Checkpoint.parse_text(note.text)


def _decoded(hashes: list[str] | None) -> list[bytes]:
    return [base64.b64decode(each) for each in hashes or []]


def test_a_log_that_go_wrote_verifies_here(theirs: tuple[Path, dict[str, Any]]) -> None:
    folder, proofs = theirs
    key = NoteKey.parse(proofs["key"])
    head = _checkpoint(folder, key, SIZE)
    tree = StoredTree(folder, SIZE)
    leaves = [leaf_hash(entry) for entry in tree.entries(0, SIZE)]
    assert tree.root() == head.root_hash == tree_hash(leaves)
    for index in range(SIZE):
        theirs_of_it, ours = _decoded(proofs["inclusion"][index]), tree.inclusion_proof(index)
        assert theirs_of_it == ours
        verify_inclusion(leaves[index], index, SIZE, theirs_of_it, head.root_hash)
    for size in range(1, SIZE + 1):
        older = _checkpoint(folder, key, size)
        proof = _decoded(proofs["consistency"][str(size)])
        assert older.tree_size == size
        assert proof == tree.consistency_proof(size)
        verify_consistency(size, older.root_hash, SIZE, head.root_hash, proof)


def test_a_checkpoint_that_go_signed_is_refused_when_a_digit_is_changed(
    theirs: tuple[Path, dict[str, Any]],
) -> None:
    folder, proofs = theirs
    key = NoteKey.parse(proofs["key"])
    note = SignedNote.parse((folder / "checkpoints" / "77").read_bytes())
    [signature] = note.by(key)
    with pytest.raises(VerificationError):
        key.verify(note.text.replace("77", "78", 1).encode(), signature.signature)
