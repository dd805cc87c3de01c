//! The Merkle tree hash of RFC 6962 section 2.1, over a column.

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::Rows;

/// A hash of the tree.
pub type Hash = [u8; 32];

const LEAF: u8 = 0x00;
const NODE: u8 = 0x01;

/// Trees of fewer leaves are not worth a second core.
const PARALLEL_LEAVES: usize = 2_048;

/// The root over `values`, in order.
pub fn root<R: Rows + ?Sized>(values: &R) -> Hash {
    // MTH({}) = SHA-256()
    if values.is_empty() {
        return Sha256::digest([]).into();
    }
    subtree(values, 0..values.len())
}

fn subtree<R: Rows + ?Sized>(values: &R, leaves: Range<usize>) -> Hash {
    // MTH({d(0)}) = SHA-256(0x00 || d(0))
    if leaves.len() == 1 {
        let leaf = values.value(leaves.start);
        return Sha256::new_with_prefix([LEAF]).chain_update(leaf).finalize().into();
    }
    // k: the largest power of two smaller than n
    let k = leaves.len().next_power_of_two() / 2;
    let middle = leaves.start + k;
    // MTH(D[n]) = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n]))
    let left = || subtree(values, leaves.start..middle);
    let right = || subtree(values, middle..leaves.end);
    let (left, right) =
        if leaves.len() < PARALLEL_LEAVES { (left(), right()) } else { rayon::join(left, right) };
    Sha256::new_with_prefix([NODE]).chain_update(left).chain_update(right).finalize().into()
}
