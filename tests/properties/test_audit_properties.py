"""Properties of the tree and the log, for sizes that nobody picked."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from audit_examples import create_log, heartbeats, make_party, open_log
from hypothesis import given, settings
from hypothesis import strategies as st

from psishare.audit.growth import grow
from psishare.audit.merkle import (
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    tree_hash,
    verify_consistency,
    verify_inclusion,
)
from psishare.audit.peer_view import verify_extension
from psishare.audit.tile import ENTRIES_LEVEL, levels, rightmost_tile, split_bundle, split_hashes
from psishare.audit.verify_log import verify_log_folder
from psishare.errors import VerificationError

PARTY = make_party()
LEAVES = [leaf_hash(n.to_bytes(2, "big")) for n in range(600)]
sizes = st.integers(1, len(LEAVES))


@given(st.data())
def test_an_inclusion_proof_shows_its_leaf_at_its_place_and_nothing_else(
    data: st.DataObject,
) -> None:
    size = data.draw(sizes)
    index = data.draw(st.integers(0, size - 1))
    root = tree_hash(LEAVES[:size])
    proof = [tree_hash(LEAVES[a:b]) for a, b in inclusion_ranges(index, size)]
    verify_inclusion(LEAVES[index], index, size, proof, root)
    other_index = data.draw(st.integers(0, size + 3).filter(lambda other: other != index))
    other_leaf = data.draw(st.sampled_from(LEAVES).filter(lambda leaf: leaf != LEAVES[index]))
    for arguments in [
        (LEAVES[index], other_index, size, proof, root),
        (other_leaf, index, size, proof, root),
        (LEAVES[index], index, size, [*proof, root], root),
        (LEAVES[index], index, size, proof, LEAVES[0] if size > 1 else LEAVES[1]),
    ]:
        with pytest.raises(VerificationError):
            verify_inclusion(*arguments)


@given(st.data())
def test_a_consistency_proof_shows_an_extension_and_nothing_else(data: st.DataObject) -> None:
    new = data.draw(sizes)
    old = data.draw(st.integers(1, new))
    root = tree_hash(LEAVES[:new])
    proof = [tree_hash(LEAVES[a:b]) for a, b in consistency_ranges(old, new)]
    verify_consistency(old, tree_hash(LEAVES[:old]), new, root, proof)
    changed = data.draw(st.integers(0, old - 1))
    forked = [*LEAVES[:changed], LEAVES[-1][::-1], *LEAVES[changed + 1 : old]]
    with pytest.raises(VerificationError):
        verify_consistency(old, tree_hash(forked), new, root, proof)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 256), min_size=1, max_size=8))
def test_growing_in_any_steps_gives_one_tree(steps: list[int]) -> None:
    size, edge, open_bundle = 0, list[list[bytes]](), list[bytes]()
    for step in steps:
        added = [n.to_bytes(2, "big") for n in range(size, size + step)]
        growth = grow(size, edge, open_bundle, added)
        files = dict(growth.files)
        size = growth.size
        previous, edge = edge, []
        for level in levels(size):
            tile = rightmost_tile(level, size)
            if tile is None:
                edge.append([])
            elif tile in files:
                edge.append(split_hashes(files[tile], tile.width))
            else:
                edge.append(previous[level])
        bundle = rightmost_tile(ENTRIES_LEVEL, size)
        open_bundle = split_bundle(files[bundle], bundle.width) if bundle else []
    assert growth.root == tree_hash([leaf_hash(n.to_bytes(2, "big")) for n in range(size)])


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 120), min_size=1, max_size=5), st.data())
def test_a_peer_that_looks_in_now_and_then_can_always_follow(
    steps: list[int], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "log"
        log = create_log(folder)
        known = None
        for step in steps:
            log.append_all(heartbeats(step))
            if data.draw(st.booleans()):
                log = open_log(folder)
            if data.draw(st.booleans()):
                since = known.tree_size if known else 0
                proof = log.consistency_proof(since, log.size)
                known = verify_extension(known, log.checkpoint(), proof, PARTY.verifiers)
        verdict = verify_log_folder(folder, PARTY.verifiers)
        assert verdict.head.tree_size == 1 + sum(steps)
        assert verdict.n_checkpoints == 2 + len(steps)
