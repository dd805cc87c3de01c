//! RFC 9380 on ristretto255 with SHA-512: hashing to the group and to scalars.

use std::ops::Range;

use crate::group::Batch;
use crate::sha512::{BLOCK_BYTES, DIGEST_BYTES, Digests, Messages, Prefix};
use crate::{Error, Rows};
use curve25519_dalek::Scalar;

/// The longest value that can be hashed: RFC 9497 encodes its length in two bytes.
pub const MAX_VALUE_BYTES: usize = 65_535;

/// Bytes of uniform output for a group element or a scalar.
const UNIFORM_BYTES: u16 = 64;

/// `expand_message_xmd` (RFC 9380 section 5.3.1) with SHA-512 to 64 bytes under one domain tag.
pub(crate) struct Expander {
    /// SHA-512 after `Z_pad`, which is one block and the same for every message.
    padded: Prefix,
    /// What follows the message in the first hash: `l_i_b_str || I2OSP(0, 1) || DST_prime`.
    first_end: Vec<u8>,
    /// What follows `b_0` in the second: `I2OSP(1, 1) || DST_prime`.
    second_end: Vec<u8>,
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
        Self {
            padded: Prefix::block(&[0; BLOCK_BYTES]),
            first_end: [&UNIFORM_BYTES.to_be_bytes(), &[0][..], &dst_prime].concat(),
            second_end: [&[1][..], &dst_prime].concat(),
        }
    }

    /// Make room for messages of these lengths.
    pub(crate) fn messages(&self, lengths: impl Iterator<Item = usize>) -> Expansion<'_> {
        let lengths = lengths.map(|length| length + self.first_end.len());
        Expansion { expander: self, messages: Messages::new(&self.padded, lengths) }
    }

    /// `HashToScalar` (RFC 9497 section 4.1) of the message that `parts` concatenate to.
    pub(crate) fn hash_to_scalar(&self, parts: &[&[u8]]) -> Scalar {
        let mut messages = self.messages([parts.iter().map(|part| part.len()).sum()].into_iter());
        messages.write(0, parts);
        messages.to_scalars()[0]
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
        let too_long = |index: usize| values.value(index).len() > MAX_VALUE_BYTES;
        if let Some(row) = rows.clone().position(too_long) {
            return Err(Error::ValueTooLong { row });
        }
        let mut messages = self.messages(rows.clone().map(|index| values.value(index).len()));
        for (row, index) in rows.enumerate() {
            messages.write(row, &[values.value(index)]);
        }
        // RFC 9497: if inputElement == G.Identity(): raise InvalidInputError
        let batch = Batch::one_way_map(&messages.expand());
        batch.first_identity().map_or(Ok(batch), |row| Err(Error::ValueIsIdentity { row }))
    }
}

/// Messages that are expanded together.
pub(crate) struct Expansion<'a> {
    expander: &'a Expander,
    messages: Messages<'a>,
}

impl Expansion<'_> {
    /// Write message `row`, which `parts` concatenate to; as [`Messages::write`].
    pub(crate) fn write(&mut self, row: usize, parts: &[&[u8]]) {
        let end = self.expander.first_end.as_slice();
        self.messages.write(row, parts.iter().copied().chain([end]));
    }

    /// Expand each message to 64 uniform bytes.
    pub(crate) fn expand(&self) -> Digests {
        // ell = ceil(len_in_bytes / b_in_bytes) = 1
        // msg_prime = Z_pad || msg || l_i_b_str || I2OSP(0, 1) || DST_prime
        // b_0 = H(msg_prime)
        let first = self.messages.digests();
        // b_1 = H(b_0 || I2OSP(1, 1) || DST_prime)
        // uniform_bytes = b_1
        let end = self.expander.second_end.as_slice();
        let empty = Prefix::empty();
        let lengths = first.iter().map(|_| DIGEST_BYTES + end.len());
        let mut second = Messages::new(&empty, lengths);
        for (row, b_0) in first.iter().enumerate() {
            second.write(row, [b_0.as_slice(), end]);
        }
        second.digests()
    }

    /// `HashToScalar` (RFC 9497 section 4.1) of each message: expanded, little-endian, modulo ℓ.
    pub(crate) fn to_scalars(&self) -> Vec<Scalar> {
        self.expand().iter().map(Scalar::from_bytes_mod_order_wide).collect()
    }
}
