//! SHA-512 of many messages that continue from one state, a chunk of rows at a time.
//!
//! Hashing to the group, the outputs, the blinds and the weights of proofs all hash many short
//! messages behind the same prefix. Where the machine has the instructions, eight are hashed at once.

use std::ops::Range;

use sha2::block_api::compress512;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::secret::SecretStrings;
#[cfg(target_arch = "x86_64")]
use crate::{backend, group::simd};

/// Bytes of a block.
pub(crate) const BLOCK_BYTES: usize = 128;

/// A block of a padded message.
pub(crate) type Block = [u8; BLOCK_BYTES];

/// Bytes of a digest.
pub(crate) const DIGEST_BYTES: usize = 64;

/// A digest.
pub(crate) type Digest = [u8; DIGEST_BYTES];

/// Digests of many messages, in order; wiped when dropped.
pub(crate) type Digests = SecretStrings<DIGEST_BYTES>;

/// The state of the compression function, eight words.
pub(crate) type State = [u64; 8];

/// `H(0)` of FIPS 180-4 section 5.3.5.
const INITIAL: State = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

/// The least that padding adds: a bit and the length in 128 bits, in whole bytes.
const PADDING_BYTES: usize = 17;
const LENGTH_BYTES: usize = 16;

/// SHA-512 after some whole blocks, which may be secret.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Prefix {
    state: State,
    bytes: usize,
}

impl Prefix {
    /// The state before anything is hashed.
    pub(crate) fn empty() -> Self {
        Self { state: INITIAL, bytes: 0 }
    }

    /// The state after one block.
    pub(crate) fn block(block: &Block) -> Self {
        let mut state = INITIAL;
        compress512(&mut state, std::slice::from_ref(block));
        Self { state, bytes: BLOCK_BYTES }
    }
}

/// Messages behind one prefix that are hashed together; wiped when dropped.
///
/// # Invariant
/// `ends` rises; the padded message `i` is the blocks from `ends[i − 1]`, or 0, to `ends[i]`.
pub(crate) struct Messages<'a> {
    prefix: &'a Prefix,
    blocks: SecretStrings<BLOCK_BYTES>,
    ends: Vec<usize>,
}

impl<'a> Messages<'a> {
    /// Make room for messages of these lengths in bytes.
    pub(crate) fn new(prefix: &'a Prefix, lengths: impl Iterator<Item = usize>) -> Self {
        let mut end = 0;
        let ends: Vec<_> = lengths
            .map(|length| {
                end += (length + PADDING_BYTES).div_ceil(BLOCK_BYTES);
                end
            })
            .collect();
        Self { prefix, blocks: SecretStrings::zeroed(end), ends }
    }

    /// Write message `row`, which `parts` concatenate to, and its padding.
    ///
    /// # Invariant
    /// Each row is written once, and its parts have the length that it was given room for.
    pub(crate) fn write<'p>(&mut self, row: usize, parts: impl IntoIterator<Item = &'p [u8]>) {
        let range = self.range(row);
        let message = self.blocks[range].as_flattened_mut();
        let mut length = 0;
        for part in parts {
            message[length..length + part.len()].copy_from_slice(part);
            length += part.len();
        }
        message[length] = 0x80;
        let bits = (self.prefix.bytes + length) as u128 * 8;
        let end = message.len();
        message[end - LENGTH_BYTES..].copy_from_slice(&bits.to_be_bytes());
    }

    /// The digests, in order.
    pub(crate) fn digests(&self) -> Digests {
        let mut digests = Digests::zeroed(self.ends.len());
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = backend::ifma() {
            simd::sha512(ifma, &self.prefix.state, &self.blocks, &self.ends, &mut digests);
            return digests;
        }
        for (row, digest) in digests.iter_mut().enumerate() {
            self.digest_one(row, digest);
        }
        digests
    }

    fn digest_one(&self, row: usize, digest: &mut Digest) {
        let mut state = Zeroizing::new(self.prefix.state);
        compress512(&mut state, &self.blocks[self.range(row)]);
        for (place, word) in digest.chunks_mut(8).zip(*state) {
            place.copy_from_slice(&word.to_be_bytes());
        }
    }

    fn range(&self, row: usize) -> Range<usize> {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        start..self.ends[row]
    }
}
