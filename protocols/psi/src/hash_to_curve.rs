//! RFC 9380 on ristretto255 with SHA-512: hashing to the group and to scalars.

use std::ops::Range;

use curve25519_dalek::Scalar;
use sha2::{Digest, Sha512};

use crate::group::Batch;
use crate::{Error, Rows};

/// The longest value that can be hashed: RFC 9497 encodes its length in two bytes.
pub const MAX_VALUE_BYTES: usize = 65_535;

/// Bytes of uniform output for a group element or a scalar.
const UNIFORM_BYTES: u16 = 64;

/// SHA-512's block.
const BLOCK_BYTES: usize = 128;

/// `expand_message_xmd` (RFC 9380 section 5.3.1) with SHA-512 to 64 bytes under one domain tag.
pub(crate) struct Expander {
    /// SHA-512 after `Z_pad`, which is one block and the same for every message.
    padded: Sha512,
    dst_prime: Vec<u8>,
}

impl Expander {
    /// Make the expander of the domain separation tag that `parts` concatenate to.
    ///
    /// # Invariant
    /// A tag has at most 255 bytes; every one of this crate is shorter.
    pub(crate) fn new(parts: &[&[u8]]) -> Self {
        // DST_prime = DST || I2OSP(len(DST), 1)
        let mut dst_prime = parts.concat();
        let length = u8::try_from(dst_prime.len()).unwrap_or(u8::MAX);
        debug_assert_eq!(usize::from(length), dst_prime.len());
        dst_prime.push(length);
        Self { padded: Sha512::new_with_prefix([0; BLOCK_BYTES]), dst_prime }
    }

    /// Hash the message that `parts` concatenate to into 64 uniform bytes.
    pub(crate) fn expand(&self, parts: &[&[u8]]) -> [u8; 64] {
        // ell = ceil(len_in_bytes / b_in_bytes) = 1
        // msg_prime = Z_pad || msg || l_i_b_str || I2OSP(0, 1) || DST_prime
        // b_0 = H(msg_prime)
        let mut hash = self.padded.clone();
        for part in parts {
            hash.update(part);
        }
        let b_0 = hash
            .chain_update(UNIFORM_BYTES.to_be_bytes())
            .chain_update([0])
            .chain_update(&self.dst_prime)
            .finalize();
        // b_1 = H(b_0 || I2OSP(1, 1) || DST_prime)
        // uniform_bytes = b_1
        Sha512::new_with_prefix(b_0)
            .chain_update([1])
            .chain_update(&self.dst_prime)
            .finalize()
            .into()
    }

    /// `HashToScalar` (RFC 9497 section 4.1): the expanded message, little-endian, modulo ℓ.
    pub(crate) fn hash_to_scalar(&self, parts: &[&[u8]]) -> Scalar {
        Scalar::from_bytes_mod_order_wide(&self.expand(parts))
    }

    /// `HashToGroup` (RFC 9497 section 4.1) of some rows: expand, then the one-way map.
    ///
    /// # Errors
    /// `ValueTooLong` and `ValueIsIdentity`, with rows counted from the first of `rows`.
    pub(crate) fn hash_to_group<R: Rows + ?Sized>(
        &self,
        values: &R,
        rows: Range<usize>,
    ) -> Result<Batch, Error> {
        let uniform = rows
            .enumerate()
            .map(|(row, index)| {
                let value = values.value(index);
                if value.len() > MAX_VALUE_BYTES {
                    return Err(Error::ValueTooLong { row });
                }
                Ok(self.expand(&[value]))
            })
            .collect::<Result<Vec<_>, _>>()?;
        // RFC 9497: if inputElement == G.Identity(): raise InvalidInputError
        let batch = Batch::one_way_map(&uniform);
        batch.first_identity().map_or(Ok(batch), |row| Err(Error::ValueIsIdentity { row }))
    }
}
