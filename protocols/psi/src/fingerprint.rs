//! Fingerprints: the first bits of a PRF output.

use crate::{Error, OUTPUT_BYTES};

/// The most bits of a fingerprint: all of a PRF output.
pub const MAX_BITS: usize = OUTPUT_BYTES * 8;

/// How outputs are cut to fingerprints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    bytes: usize,
    last_mask: u8,
}

impl Cut {
    /// The cut to the first `bits` bits.
    ///
    /// # Errors
    /// `FingerprintBits` where `bits` is not in 1 to 512.
    pub(crate) fn new(bits: usize) -> Result<Self, Error> {
        if !(1..=MAX_BITS).contains(&bits) {
            return Err(Error::FingerprintBits);
        }
        let bytes = bits.div_ceil(8);
        // The first bit is the highest of the first byte; what is left over at the end is zero.
        Ok(Self { bytes, last_mask: u8::MAX << (bytes * 8 - bits) })
    }

    /// The bytes of a fingerprint.
    pub(crate) fn bytes(self) -> usize {
        self.bytes
    }

    /// Write the fingerprints of `outputs` into `places`, which has [`Cut::bytes`] bytes for each.
    pub(crate) fn apply_each(self, outputs: &[[u8; OUTPUT_BYTES]], places: &mut [u8]) {
        for (output, place) in outputs.iter().zip(places.chunks_mut(self.bytes)) {
            self.apply(output, place);
        }
    }

    /// Write the fingerprint of `output` into `place`, which has [`Cut::bytes`] bytes.
    fn apply(self, output: &[u8; OUTPUT_BYTES], place: &mut [u8]) {
        place.copy_from_slice(&output[..self.bytes]);
        if let Some(last) = place.last_mut() {
            *last &= self.last_mask;
        }
    }
}
