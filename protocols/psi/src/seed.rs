//! The secret seed of one exchange and what it derives (`oprf.md` and `ecdh.md`).

use std::fmt;

use curve25519_dalek::Scalar;
use hmac::{Hmac, KeyInit, Mac};
use rayon::prelude::*;
use sha2::{Digest, Sha256, Sha512};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::ecdh::EcdhScalar;
use crate::secret::{SecretScalar, fill_random};
use crate::{Error, merkle};

/// Bytes of a seed.
pub const SEED_BYTES: usize = 32;

/// The pass of an exchange that runs its protocol once, as every exchange of version 1 does.
pub const FIRST_PASS: u8 = 0;

// The wire constants of the derivations, in one block.
const BLIND: &[u8] = b"psishare/blind/v1";
const ORDER: &[u8] = b"psishare/order/v1";
const ECDH_SCALAR: &[u8] = b"psishare/ecdh-scalar/v1";
const OPENING: &[u8] = b"psishare/opening/v1";
const ORDER_KEY_BYTES: usize = 16;

const SHA512_BLOCK_BYTES: usize = 128;

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
        let mut keyed: Zeroizing<Vec<([u8; ORDER_KEY_BYTES], u64)>> = Zeroizing::new(
            (0..n_rows).into_par_iter().map(|index| (derivation.order_key(index), index)).collect(),
        );
        keyed.par_sort_unstable();
        Ok(keyed.iter().map(|&(_, index)| index).collect())
    }

    /// The secret scalar of an `ecdh` exchange.
    ///
    /// # Errors
    /// `BlindIsZero` where it is zero.
    pub fn ecdh_scalar(&self, pass: u8) -> Result<EcdhScalar, Error> {
        let wide = Derivation::new(self, ECDH_SCALAR, pass).finish();
        SecretScalar::new(Scalar::from_bytes_mod_order_wide(&wide))
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

/// HMAC-SHA-512(seed, label || u8 pass || …), keyed once and continued for each index.
struct Derivation(Hmac<Sha512>);

impl Derivation {
    fn new(seed: &Seed, label: &[u8], pass: u8) -> Self {
        // HMAC pads a key shorter than a block with zeros (RFC 2104). Doing so here leaves no case in
        // which it could refuse the key.
        let mut block = Zeroizing::new([0; SHA512_BLOCK_BYTES]);
        block[..SEED_BYTES].copy_from_slice(&seed.0);
        let mut mac = <Hmac<Sha512> as KeyInit>::new((&*block).into());
        mac.update(label);
        mac.update(&[pass]);
        Self(mac)
    }

    fn finish(self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.0.finalize().into_bytes().into())
    }

    fn at(&self, index: u64) -> Zeroizing<[u8; 64]> {
        let mut mac = self.0.clone();
        mac.update(&index.to_be_bytes());
        Self(mac).finish()
    }

    fn order_key(&self, index: u64) -> [u8; ORDER_KEY_BYTES] {
        let mut key = [0; ORDER_KEY_BYTES];
        key.copy_from_slice(&self.at(index)[..ORDER_KEY_BYTES]);
        key
    }
}

/// Derives the blind of each value of one pass.
pub(crate) struct BlindDerivation(Derivation);

impl BlindDerivation {
    /// The blind of the value with this index; `None` where it is zero.
    pub(crate) fn blind(&self, index: u64) -> Option<SecretScalar> {
        SecretScalar::new(Scalar::from_bytes_mod_order_wide(&self.0.at(index)))
    }
}
