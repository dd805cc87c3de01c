"""A log that another implementation wrote: Tessera's test log, checkpoints of sizes 0 to 15."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from psishare.audit.checkpoint import Checkpoint
from psishare.audit.merkle import leaf_hash, tree_hash, verify_consistency, verify_inclusion
from psishare.audit.note import SignedNote
from psishare.audit.tree import StoredTree
from psishare.errors import VerificationError
from psishare.keys.note_key import NoteKey

VECTORS = Path(__file__).resolve().parents[3] / "protocols" / "vectors" / "audit"
LOG = json.loads((VECTORS / "tessera-log.json").read_text(encoding="utf-8"))
VERIFIER = NoteKey.parse(LOG["verifier_key"])
SIZE = LOG["size"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out the log's files as they were published."""
    made = tmp_path_factory.mktemp("tessera-log")
    for name, data in LOG["files"].items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(base64.b64decode(data))
    return made


def checkpoint(folder: Path, size: int) -> Checkpoint:
    note = SignedNote.parse((folder / f"checkpoint.{size}").read_bytes())
    (signature,) = note.by(VERIFIER)
    VERIFIER.verify(note.text.encode(), signature.signature)
    return Checkpoint.parse_text(note.text)


def test_every_checkpoint_verifies_and_names_its_size(folder: Path) -> None:
    assert [checkpoint(folder, size).tree_size for size in range(SIZE + 1)] == [*range(SIZE + 1)]


def test_roots_follow_from_the_entries_and_from_the_tiles(folder: Path) -> None:
    entries = list(StoredTree(folder, SIZE).entries(0, SIZE))
    assert len(entries) == SIZE
    for size in range(SIZE + 1):
        root = checkpoint(folder, size).root_hash
        assert tree_hash([leaf_hash(entry) for entry in entries[:size]]) == root
        assert StoredTree(folder, size, SIZE).root() == root


def test_proofs_made_from_its_tiles_verify_under_its_checkpoints(folder: Path) -> None:
    newest = checkpoint(folder, SIZE)
    tree = StoredTree(folder, SIZE)
    for index in range(SIZE):
        leaf = leaf_hash(tree.entry(index))
        proof = tree.inclusion_proof(index)
        verify_inclusion(leaf, index, SIZE, proof, newest.root_hash)
    for size in range(SIZE + 1):
        old = checkpoint(folder, size)
        proof = tree.consistency_proof(size)
        verify_consistency(size, old.root_hash, SIZE, newest.root_hash, proof)


def test_a_changed_text_does_not_verify(folder: Path) -> None:
    note = SignedNote.parse((folder / "checkpoint.7").read_bytes())
    with pytest.raises(VerificationError):
        VERIFIER.verify(note.text.replace("7", "8", 1).encode(), note.signatures[0].signature)
