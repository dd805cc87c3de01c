from __future__ import annotations

import pytest

from psishare.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    InclusionVerifier,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    peak_ranges,
    tree_hash,
    verify_consistency,
    verify_inclusion,
)
from psishare.errors import VerificationError

LEAVES = [leaf_hash(bytes([i])) for i in range(20)]


def definition(leaves: list[bytes]) -> bytes:
    """Return MTH as RFC 6962, section 2.1, defines it."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(definition(leaves[:k]), definition(leaves[k:]))


@pytest.mark.parametrize("size", range(len(LEAVES) + 1))
def test_the_root_is_as_defined(size: int) -> None:
    assert tree_hash(LEAVES[:size]) == definition(LEAVES[:size])


def test_a_frontier_keeps_one_hash_for_each_set_bit() -> None:
    frontier = Frontier()
    for size, leaf in enumerate(LEAVES, start=1):
        frontier.add(leaf)
        assert frontier.size == size
        assert len(frontier._peaks) == size.bit_count()


@pytest.mark.parametrize("size", range(1, 20))
def test_every_inclusion_proof_verifies_at_its_own_index_only(size: int) -> None:
    root = definition(LEAVES[:size])
    for index in range(size):
        proof = [definition(LEAVES[a:b]) for a, b in inclusion_ranges(index, size)]
        verify_inclusion(LEAVES[index], index, size, proof, root)
        for other in range(-1, size + 2):
            if other != index:
                with pytest.raises(VerificationError):
                    verify_inclusion(LEAVES[index], other, size, proof, root)


def inclusion_proof(index: int, size: int) -> list[bytes]:
    return [definition(LEAVES[a:b]) for a, b in inclusion_ranges(index, size)]


@pytest.mark.parametrize("size", [1, 2, 7, 8, 13, 20])
def test_a_proof_that_goes_on_as_the_one_before_is_held_to_the_same(size: int) -> None:
    tree = InclusionVerifier(size, definition(LEAVES[:size]))
    for index in [*range(size), *reversed(range(size)), 0, 0]:
        proof = inclusion_proof(index, size)
        tree.verify(LEAVES[index], index, proof)
        for other in range(size):
            wrong = [*proof[:-1], bytes(32)], [*proof, bytes(32)], proof[:-1]
            if other != index:
                with pytest.raises(VerificationError):
                    tree.verify(LEAVES[other], index, proof)
                with pytest.raises(VerificationError):
                    tree.verify(LEAVES[index], other, proof)
            for each in wrong if proof else ():
                with pytest.raises(VerificationError):
                    tree.verify(LEAVES[index], index, each)


def test_every_hash_of_a_proof_counts_whatever_was_verified_before_it() -> None:
    size = 20
    tree = InclusionVerifier(size, definition(LEAVES))
    for index in range(size):
        proof = inclusion_proof(index, size)
        for place in range(len(proof)):
            bad = [
                *proof[:place],
                bytes([proof[place][0] ^ 1]) + proof[place][1:],
                *proof[place + 1 :],
            ]
            with pytest.raises(VerificationError):
                tree.verify(LEAVES[index], index, bad)
        tree.verify(LEAVES[index], index, proof)


@pytest.mark.parametrize("size", range(1, 20))
def test_every_consistency_proof_verifies_for_its_own_sizes_only(size: int) -> None:
    root = definition(LEAVES[:size])
    for old in range(1, size + 1):
        proof = [definition(LEAVES[a:b]) for a, b in consistency_ranges(old, size)]
        old_root = definition(LEAVES[:old])
        verify_consistency(old, old_root, size, root, proof)
        for other in range(1, size + 1):
            if other != old:
                with pytest.raises(VerificationError):
                    verify_consistency(other, old_root, size, root, proof)
        if proof:
            for wrong in (proof[:-1], proof[1:], [*proof, proof[0]], [EMPTY_ROOT, *proof]):
                with pytest.raises(VerificationError):
                    verify_consistency(old, old_root, size, root, wrong)


def test_every_tree_extends_the_empty_one_and_itself_without_a_proof() -> None:
    root = definition(LEAVES)
    verify_consistency(0, EMPTY_ROOT, 20, root, [])
    verify_consistency(20, root, 20, root, [])
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    for arguments in [
        (0, EMPTY_ROOT, 20, root, [root]),
        (0, root, 20, root, []),
        (20, root, 20, root, [root]),
        (20, EMPTY_ROOT, 20, root, []),
        (21, root, 20, root, []),
        (-1, root, 20, root, []),
        (10, root, 20, root, []),
    ]:
        with pytest.raises(VerificationError):
            verify_consistency(*arguments)


@pytest.mark.parametrize("bad", [b"", b"x", bytes(31), bytes(33), bytes(64)])
def test_a_hash_of_another_length_is_refused_wherever_it_stands(bad: bytes) -> None:
    # An empty leaf hash would be hashed into a root like any other.
    root = node_hash(bad, LEAVES[1])
    with pytest.raises(VerificationError, match="32 bytes"):
        verify_inclusion(bad, 0, 2, [LEAVES[1]], root)
    with pytest.raises(VerificationError, match="32 bytes"):
        verify_inclusion(LEAVES[1], 1, 2, [bad], root)
    with pytest.raises(VerificationError):
        verify_inclusion(bad, 0, 1, [], bad)
    with pytest.raises(VerificationError):
        verify_consistency(1, LEAVES[0], 2, node_hash(LEAVES[0], bad), [bad])


def test_a_run_of_leaves_is_made_of_aligned_complete_subtrees() -> None:
    assert peak_ranges(0, 13) == [(0, 8), (8, 12), (12, 13)]
    assert peak_ranges(8, 13) == [(8, 12), (12, 13)]
    assert peak_ranges(5, 5) == []
