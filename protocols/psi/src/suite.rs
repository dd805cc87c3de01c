//! The suite ristretto255-SHA512 of RFC 9497 section 4.1 and its modes' domain tags.

use std::ops::Range;
use std::sync::LazyLock;

use crate::hash_to_curve::Expander;
use crate::secret::SecretScalar;
use crate::sha512::{Digests, Messages, Prefix};
use crate::{ELEMENT_BYTES, Encoding, Error, Rows};

pub use crate::hash_to_curve::MAX_VALUE_BYTES;

/// Bytes of a length before what it counts.
pub(crate) const LENGTH_BYTES: usize = 2;

/// Bytes of a PRF output, `Nh`.
pub const OUTPUT_BYTES: usize = 64;

/// The most rows that one proof covers: RFC 9497 numbers them in two bytes.
pub const MAX_FRAME_ROWS: usize = 65_535;

// The wire constants of RFC 9497, in one block.
const VERSION: &[u8] = b"OPRFV1-";
const IDENTIFIER: &[u8] = b"-ristretto255-SHA512";
const MODE_OPRF: u8 = 0x00;
const MODE_VOPRF: u8 = 0x01;
const HASH_TO_GROUP: &[u8] = b"HashToGroup-";
const HASH_TO_SCALAR: &[u8] = b"HashToScalar-";
const DERIVE_KEY_PAIR: &[u8] = b"DeriveKeyPair";
const SEED: &[u8] = b"Seed-";
const FINALIZE: &[u8] = b"Finalize";

/// One mode of the suite: its domain tags, made once.
pub(crate) struct Mode {
    pub(crate) hash_to_group: Expander,
    pub(crate) hash_to_scalar: Expander,
    derive_key_pair: Expander,
    /// `"Seed-" || contextString`, of `ComputeComposites`.
    pub(crate) seed_dst: Vec<u8>,
}

/// Mode 0x00, OPRF.
pub(crate) static OPRF: LazyLock<Mode> = LazyLock::new(|| Mode::new(MODE_OPRF));

/// Mode 0x01, VOPRF.
pub(crate) static VOPRF: LazyLock<Mode> = LazyLock::new(|| Mode::new(MODE_VOPRF));

impl Mode {
    fn new(mode: u8) -> Self {
        // CreateContextString(mode, identifier):
        //   return "OPRFV1-" || I2OSP(mode, 1) || "-" || identifier
        let context = [VERSION, &[mode], IDENTIFIER].concat();
        Self {
            hash_to_group: Expander::new(&[HASH_TO_GROUP, &context]),
            hash_to_scalar: Expander::new(&[HASH_TO_SCALAR, &context]),
            derive_key_pair: Expander::new(&[DERIVE_KEY_PAIR, &context]),
            seed_dst: [SEED, &context].concat(),
        }
    }

    /// `DeriveKeyPair` (section 3.2.1), the secret half.
    pub(crate) fn derive_key(&self, seed: &[u8; 32], info: &[u8]) -> Result<SecretScalar, Error> {
        // deriveInput = seed || I2OSP(len(info), 2) || info
        let length = u16::try_from(info.len()).map_err(|_| Error::InfoTooLong)?.to_be_bytes();
        // counter = 0; skS = 0
        // while skS == 0: if counter > 255: raise DeriveKeyPairError
        for counter in 0..=u8::MAX {
            // skS = G.HashToScalar(deriveInput || I2OSP(counter, 1),
            //                      DST = "DeriveKeyPair" || contextString)
            let parts: [&[u8]; 4] = [seed, &length, info, &[counter]];
            if let Some(key) = SecretScalar::new(self.derive_key_pair.hash_to_scalar(&parts)) {
                return Ok(key);
            }
        }
        Err(Error::KeyDerivation)
    }
}

/// The last step of `Finalize` and `Evaluate` (sections 3.3.1 and 3.3.2), for some rows of `inputs`
/// and their elements.
///
/// Inputs are at most [`MAX_VALUE_BYTES`] long, which hashing them to the group has already checked.
pub(crate) fn output_hashes<R: Rows + ?Sized>(
    inputs: &R,
    rows: Range<usize>,
    elements: &[Encoding],
) -> Digests {
    // hashInput = I2OSP(len(input), 2) || input ||
    //             I2OSP(len(issuedElement), 2) || issuedElement || "Finalize"
    // return Hash(hashInput)
    let empty = Prefix::empty();
    let fixed = 2 * LENGTH_BYTES + ELEMENT_BYTES + FINALIZE.len();
    let lengths = rows.clone().map(|index| inputs.value(index).len() + fixed);
    let mut messages = Messages::new(&empty, lengths);
    for ((row, index), element) in rows.enumerate().zip(elements) {
        let input = inputs.value(index);
        messages.write(row, [&length(input)[..], input, &length(element), element, FINALIZE]);
    }
    messages.digests()
}

/// `I2OSP(len(bytes), 2)`, of bytes whose length is known to fit.
pub(crate) fn length(bytes: &[u8]) -> [u8; LENGTH_BYTES] {
    debug_assert!(bytes.len() <= MAX_VALUE_BYTES);
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}
