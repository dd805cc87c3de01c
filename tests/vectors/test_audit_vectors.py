"""Published vectors of the log's formats (protocols/vectors/audit/README.md gives the sources)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from psishare.audit.checkpoint import Checkpoint
from psishare.audit.cosignature import verify_cosignature
from psishare.audit.merkle import (
    EMPTY_ROOT,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    tree_hash,
    verify_consistency,
    verify_inclusion,
)
from psishare.audit.note import SignedNote
from psishare.errors import VerificationError
from psishare.keys.note_key import NoteKey, SignatureType

VECTORS = Path(__file__).resolve().parents[2] / "protocols" / "vectors"
INCLUSION = json.loads((VECTORS / "audit" / "inclusion.json").read_text())["cases"]
NOTES = json.loads((VECTORS / "audit" / "notes.json").read_text())
RFC6962 = json.loads((VECTORS / "rfc6962.json").read_text())


@pytest.mark.parametrize("case", INCLUSION, ids=lambda case: case["name"])
def test_inclusion_vector(case: dict[str, Any]) -> None:
    arguments = (
        bytes.fromhex(case["leaf_hash"]),
        int(case["index"]),
        int(case["size"]),
        [bytes.fromhex(each) for each in case["proof"]],
        bytes.fromhex(case["root"]),
    )
    if case["valid"]:
        verify_inclusion(*arguments)
    else:
        with pytest.raises(VerificationError):
            verify_inclusion(*arguments)


def test_inclusion_vectors_are_both_right_and_wrong() -> None:
    assert {case["valid"] for case in INCLUSION} == {True, False}


def test_roots_of_the_first_eight_leaves() -> None:
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in RFC6962["leaves"]]
    roots = [tree_hash(leaves[:size]).hex() for size in range(1, len(leaves) + 1)]
    assert roots == RFC6962["roots"]
    assert EMPTY_ROOT.hex() == RFC6962["empty_root"] == tree_hash([]).hex()


def test_proofs_of_the_first_eight_leaves() -> None:
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in RFC6962["leaves"]]
    roots = [EMPTY_ROOT, *(bytes.fromhex(root) for root in RFC6962["roots"])]
    for size in range(1, len(leaves) + 1):
        for index in range(size):
            proof = [tree_hash(leaves[a:b]) for a, b in inclusion_ranges(index, size)]
            verify_inclusion(leaves[index], index, size, proof, roots[size])
        for old in range(1, size + 1):
            proof = [tree_hash(leaves[a:b]) for a, b in consistency_ranges(old, size)]
            verify_consistency(old, roots[old], size, roots[size], proof)


@pytest.mark.parametrize("case", NOTES["verified"], ids=lambda case: case["source"])
def test_published_note_verifies(case: dict[str, Any]) -> None:
    key = NoteKey.parse(case["verifier_key"])
    note = SignedNote.parse(case["note"].encode())
    (signature,) = note.by(key)
    if key.type is SignatureType.ED25519:
        key.verify(note.text.encode(), signature.signature)
    else:
        checkpoint = Checkpoint.parse_text(note.text)
        assert verify_cosignature(checkpoint, key, signature) == case["time"]
    assert note.serialise().decode() == case["note"]
    assert key.encode() == case["verifier_key"]


@pytest.mark.parametrize("case", NOTES["parsed"], ids=lambda case: case["source"])
def test_published_note_parses(case: dict[str, Any]) -> None:
    note = SignedNote.parse(case["note"].encode())
    assert note.serialise().decode() == case["note"]
    for signature in note.signatures:
        if signature.name == case.get("cosigner"):
            assert signature.key_id.hex() == case["key_id"]
            assert int.from_bytes(signature.signature[:8], "big") == case["time"]
            assert len(signature.signature) == 8 + 64


def test_published_ml_dsa_checkpoint_is_refused_under_another_name() -> None:
    case = NOTES["verified"][1]
    key = NoteKey.parse(case["verifier_key"])
    other = NoteKey("example.com/other-log", key.type, key.public_key)
    note = SignedNote.parse(case["note"].encode())
    signature = note.signatures[0]
    renamed = type(signature)(other.name, other.key_id, signature.signature)
    with pytest.raises(VerificationError):
        verify_cosignature(Checkpoint.parse_text(note.text), other, renamed)
