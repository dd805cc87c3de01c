"""The Merkle tree of RFC 6962: hashes, inclusion proofs, consistency proofs.

Hashes are SHA-256, 32 bytes each; an index and a size count leaves. Verification follows RFC 9162,
sections 2.1.3.2 and 2.1.4.2, which is the same tree with the algorithms written out. Proofs are made
in two steps: which subtrees they consist of is worked out here, their hashes are read elsewhere.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from psishare.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
_LEAF = b"\x00"
_NODE = b"\x01"

Range = tuple[int, int]
"""A run of leaves, ``[start, end)``."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf: ``SHA-256(0x00 ‖ entry)``."""
    return hashlib.sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node: ``SHA-256(0x01 ‖ left ‖ right)``."""
    return hashlib.sha256(_NODE + left + right).digest()


def tree_hash(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash over leaf hashes in order (RFC 6962, section 2.1)."""
    frontier = Frontier()
    for leaf in leaf_hashes:
        frontier.add(leaf)
    return frontier.root()


class Frontier:
    """A growing tree of which only the roots of its complete subtrees are kept.

    Holds at most one hash for each bit of the size: a tree of any size in a few hundred bytes.
    """

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Append a leaf's hash."""
        merges, node = self.size, leaf
        while merges & 1:
            node = node_hash(self._peaks.pop(), node)
            merges >>= 1
        self._peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the root hash of the tree so far."""
        return fold_peaks(self._peaks)

    def copy(self) -> Frontier:
        """Return a tree that grows on from here by itself."""
        other = Frontier()
        other.size, other._peaks = self.size, list(self._peaks)
        return other


def fold_peaks(peaks: Sequence[bytes]) -> bytes:
    """Return the root over complete subtrees, given from the left, each smaller than the last."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def peak_ranges(start: int, end: int) -> list[Range]:
    """Return the complete, aligned subtrees that make up the leaves ``[start, end)``, from the left.

    ``start`` is a multiple of the largest power of two below ``end - start``, as in every subtree of
    RFC 6962.
    """
    ranges = []
    while start < end:
        width = 1 << ((end - start).bit_length() - 1)
        ranges.append((start, start + width))
        start += width
    return ranges


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return the subtrees of an inclusion proof, in proof order (RFC 6962, section 2.1.1, ``PATH``).

    Args:
        index: the leaf, 0 to ``size - 1``.
        size: the tree's size, at least 1.
    """
    siblings: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            siblings.append((middle, end))
            end = middle
        else:
            siblings.append((start, middle))
            start = middle
    return siblings[::-1]


def consistency_ranges(old_size: int, new_size: int) -> list[Range]:
    """Return the subtrees of a consistency proof, in proof order (RFC 6962, section 2.1.2, ``PROOF``).

    Args:
        old_size: the older tree's size, 1 to ``new_size``.
        new_size: the newer tree's size.
    """
    proof: list[Range] = []
    start, end, is_whole = 0, new_size, True
    while end > old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            proof.append((middle, end))
            end = middle
        else:
            proof.append((start, middle))
            start, is_whole = middle, False
    # A subtree that is the whole old tree is known to the verifier and left out.
    return ([] if is_whole else [(start, end)]) + proof[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Verify that a leaf stands at an index of a tree, as ``InclusionVerifier`` does for many.

    Raises:
        VerificationError: the proof does not show that.
    """
    InclusionVerifier(size, root).verify(leaf, index, proof)


class InclusionVerifier:
    """Verifies that leaves stand in one tree (RFC 9162, section 2.1.3.2).

    Neighbours share most of the way to the root. Where a proof has come to the node at which the proof
    before it was, at the same place and with the same hashes left, the rest of the way is the one that
    led to the root then, and is not walked again.

    Args:
        size: the tree's size.
        root: the tree's root hash.
    """

    def __init__(self, size: int, root: bytes) -> None:
        self._size = size
        self._root = root
        self._proof: tuple[bytes, ...] = ()
        self._way: list[tuple[int, int, bytes]] = []

    def verify(self, leaf: bytes, index: int, proof: Sequence[bytes]) -> None:
        """Verify that a leaf stands at an index.

        Args:
            leaf: the leaf's hash, 32 bytes.
            index: where it must stand.
            proof: sibling hashes from the leaf upwards, 32 bytes each.

        Raises:
            VerificationError: the proof does not show that.
        """
        _require_hashes([leaf, self._root, *proof])
        if not 0 <= index < self._size:
            raise _not_proven("an index outside the tree")
        hashes = tuple(proof)
        way = self._walk(leaf, index, hashes)
        # Only a proof that holds is remembered; what is left out of its way is that of the one before.
        self._way, self._proof = way, hashes

    def _walk(
        self, leaf: bytes, index: int, proof: tuple[bytes, ...]
    ) -> list[tuple[int, int, bytes]]:
        """Return the nodes on the way to the root, each with its place and the last one of its row."""
        place, last, node = index, self._size - 1, leaf
        way: list[tuple[int, int, bytes]] = []
        for step, sibling in enumerate(proof):
            here = place, last, node
            if self._was_at(step, here, proof):
                return way + self._way[step:]
            way.append(here)
            if last == 0:
                raise _not_proven("more hashes than the tree has levels")
            if place & 1 or place == last:
                node = node_hash(sibling, node)
                while not place & 1 and place:
                    place, last = place >> 1, last >> 1
            else:
                node = node_hash(node, sibling)
            place, last = place >> 1, last >> 1
        if last != 0 or node != self._root:
            raise _not_proven("another root")
        return way

    def _was_at(self, step: int, here: tuple[int, int, bytes], proof: tuple[bytes, ...]) -> bool:
        """Tell whether the proof before went on from here, and with the same hashes."""
        before = self._way
        return step < len(before) and before[step] == here and proof[step:] == self._proof[step:]


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Verify that a newer tree extends an older one (RFC 9162, section 2.1.4.2).

    The empty tree is extended by every tree, with an empty proof.

    Raises:
        VerificationError: the proof does not show that.
    """
    _require_hashes([old_root, new_root, *proof])
    if not 0 <= old_size <= new_size:
        raise _not_proven("a newer tree that is smaller")
    if old_size in (0, new_size):
        expected_root = EMPTY_ROOT if old_size == 0 else new_root
        if proof or old_root != expected_root:
            raise _not_proven("another root or a proof where there is nothing to prove")
        return
    _walk_consistency(old_size, old_root, new_size, new_root, proof)


def _walk_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    # The old root itself opens the path where the old tree is one complete subtree of the new.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        raise _not_proven("no hashes")
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_node = new_node = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise _not_proven("more hashes than the tree has levels")
        if place & 1 or place == last:
            old_node = node_hash(sibling, old_node)
            new_node = node_hash(sibling, new_node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new_node = node_hash(new_node, sibling)
        place, last = place >> 1, last >> 1
    if last != 0 or old_node != old_root or new_node != new_root:
        raise _not_proven("another root")


def _split(size: int) -> int:
    """Return the largest power of two smaller than a size of at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _require_hashes(hashes: Sequence[bytes]) -> None:
    # An empty hash would otherwise be hashed like any other and "prove" a leaf that is not there.
    if set(map(len, hashes)) != {HASH_BYTES}:
        raise _not_proven("a hash that has not 32 bytes")


def _not_proven(fault: str) -> VerificationError:
    return VerificationError(
        f"a Merkle proof leads to {fault}",
        mend="Ask the log's owner for the proof again; if it stays wrong, the log has been altered.",
        reason="proof_invalid",
    )
