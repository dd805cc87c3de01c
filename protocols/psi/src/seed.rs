//! The secret seed of one exchange and what it derives (`oprf.md` and `ecdh.md`).

use std::fmt;

use curve25519_dalek::Scalar;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::chunks::CHUNK_ROWS;
use crate::ecdh::EcdhScalar;
use crate::secret::{SecretScalar, fill_random};
use crate::sha512::{BLOCK_BYTES, DIGEST_BYTES, Digests, Messages, Prefix};
use crate::{Error, merkle};

/// Bytes of a seed.
pub const SEED_BYTES: usize = 32;

/// The pass of an exchange that runs its protocol once, as every exchange of version 1 does.
pub const FIRST_PASS: u8 = 0;

// The wire constants of the derivations, in one block.
const BLIND: &[u8] = b"psishare/blind/v2";
const ORDER: &[u8] = b"psishare/order/v1";
const ECDH_SCALAR: &[u8] = b"psishare/ecdh-scalar/v1";
const OPENING: &[u8] = b"psishare/opening/v1";
const ORDER_KEY_BYTES: usize = 16;

// RFC 2104 section 2.
const INNER_PAD: u8 = 0x36;
const OUTER_PAD: u8 = 0x5c;

/// The 32 secret bytes that blinds, order and scalar of one exchange are derived from.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; SEED_BYTES]);

impl Seed {
    /// A fresh seed from the operating system.
    ///
    /// # Errors
    /// `Randomness` where that has none.
    pub fn generate() -> Result<Self, Error> {
        let mut seed = Self([0; SEED_BYTES]);
        fill_random(&mut seed.0)?;
        Ok(seed)
    }

    /// The seed of an opening.
    pub fn from_secret_bytes(bytes: &[u8; SEED_BYTES]) -> Self {
        Self(*bytes)
    }

    /// The seed itself, for an opening and nothing else.
    pub fn secret_bytes(&self) -> &[u8; SEED_BYTES] {
        &self.0
    }

    /// The commitment to this seed and to the list whose Merkle root is `input_root`.
    pub fn commitment(&self, input_root: &merkle::Hash) -> [u8; 32] {
        // SHA-256("psishare/opening/v1" || seed || input_root)
        Sha256::new_with_prefix(OPENING)
            .chain_update(self.0)
            .chain_update(input_root)
            .finalize()
            .into()
    }

    /// The secret permutation: at each position, the index of the value that is sent there.
    ///
    /// # Errors
    /// `TooManyRows` where `n_rows` is 2^32 or more, which no exchange has.
    pub fn order(&self, pass: u8, n_rows: u64) -> Result<Vec<u64>, Error> {
        if n_rows > u64::from(u32::MAX) {
            return Err(Error::TooManyRows { rows: n_rows });
        }
        let derivation = Derivation::new(self, ORDER, pass);
        // Sorting branches on the keys. They are images of a keyed one-way function that serve
        // nothing else, and their order is what is about to be sent.
        let mut keyed: Zeroizing<Vec<_>> =
            Zeroizing::new((0..n_rows).map(|index| ([0; ORDER_KEY_BYTES], index)).collect());
        keyed.par_chunks_mut(CHUNK_ROWS).for_each(|rows| {
            let macs = derivation.at_indices(rows.iter().map(|&(_, index)| index));
            for ((key, _), mac) in rows.iter_mut().zip(macs.iter()) {
                key.copy_from_slice(&mac[..ORDER_KEY_BYTES]);
            }
        });
        keyed.par_sort_unstable();
        Ok(keyed.iter().map(|&(_, index)| index).collect())
    }

    /// The secret scalar of an `ecdh` exchange.
    ///
    /// # Errors
    /// `BlindIsZero` where it is zero.
    pub fn ecdh_scalar(&self, pass: u8) -> Result<EcdhScalar, Error> {
        let wide = Derivation::new(self, ECDH_SCALAR, pass).macs(&[[]]);
        SecretScalar::new(Scalar::from_bytes_mod_order_wide(&wide[0]))
            .map(EcdhScalar::new)
            .ok_or(Error::BlindIsZero { row: 0 })
    }

    pub(crate) fn blind_derivation(&self, pass: u8) -> BlindDerivation {
        BlindDerivation(Derivation::new(self, BLIND, pass))
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(<redacted>)")
    }
}

/// HMAC-SHA-512(seed, label || u8 pass || …) (RFC 2104), keyed once for many endings.
struct Derivation {
    inner: Prefix,
    outer: Prefix,
    message: Vec<u8>,
}

impl Derivation {
    fn new(seed: &Seed, label: &[u8], pass: u8) -> Self {
        // A key shorter than a block is padded with zeros.
        let padded = |pad: u8| {
            let mut block = Zeroizing::new([pad; BLOCK_BYTES]);
            for (place, byte) in block.iter_mut().zip(seed.0) {
                *place ^= byte;
            }
            Prefix::block(&block)
        };
        Self {
            inner: padded(INNER_PAD),
            outer: padded(OUTER_PAD),
            message: [label, &[pass]].concat(),
        }
    }

    /// The codes for each of these endings of the message.
    fn macs<const N: usize>(&self, endings: &[[u8; N]]) -> Digests {
        // HMAC(K, m) = H((K ^ opad) || H((K ^ ipad) || m))
        let lengths = endings.iter().map(|ending| self.message.len() + ending.len());
        let mut inner = Messages::new(&self.inner, lengths);
        for (row, ending) in endings.iter().enumerate() {
            inner.write(row, [self.message.as_slice(), ending]);
        }
        let mut outer = Messages::new(&self.outer, endings.iter().map(|_| DIGEST_BYTES));
        for (row, digest) in inner.digests().iter().enumerate() {
            outer.write(row, [digest.as_slice()]);
        }
        outer.digests()
    }

    fn at_indices(&self, indices: impl Iterator<Item = u64>) -> Digests {
        self.macs(&indices.map(u64::to_be_bytes).collect::<Vec<_>>())
    }
}

/// Derives the blinds of one pass.
pub(crate) struct BlindDerivation(Derivation);

impl BlindDerivation {
    /// The blinds of the values with these indices.
    ///
    /// # Errors
    /// `BlindIsZero`, with the position among `indices`.
    pub(crate) fn blinds(&self, indices: &[u64]) -> Result<Zeroizing<Vec<Scalar>>, Error> {
        let mut blinds = Zeroizing::new(Vec::with_capacity(indices.len()));
        for wide in self.0.at_indices(indices.iter().copied()).iter() {
            blinds.push(Scalar::from_bytes_mod_order_wide(wide));
        }
        // Whether a blind is zero may show: it decides between working and failing.
        let zero = blinds.iter().position(|blind| *blind == Scalar::ZERO);
        zero.map_or(Ok(blinds), |row| Err(Error::BlindIsZero { row }))
    }
}
