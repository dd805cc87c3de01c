//! The batched proof that one key evaluated a whole frame (RFC 9497 section 2.2, with weights that
//! depend on the whole frame: protocols/specs/oprf.md, section 12).
//!
//! A is the generator, B the public key, C the blinded and D the evaluated elements. Weights and
//! composites are functions of public data, hence variable-time; key and nonce are not touched there.

use curve25519_dalek::Scalar;
use rayon::prelude::*;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use crate::chunks::CHUNK_ROWS;
use crate::group::{self, Batch, Element};
use crate::secret::SecretScalar;
use crate::suite::{LENGTH_BYTES, Mode, OUTPUT_BYTES, length};
use crate::{ELEMENT_BYTES, Encoding, Error};

/// Bytes of a proof: `c || s`.
pub const PROOF_BYTES: usize = 64;

// The labels of RFC 9497 section 2.2.
const COMPOSITE: &[u8] = b"Composite";
const CHALLENGE: &[u8] = b"Challenge";

/// A proof: challenge `c` and response `s`, two scalars of 32 bytes, `c || s` on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    c: Scalar,
    s: Scalar,
}

impl Proof {
    /// Read a proof, strictly: 64 bytes, both scalars canonical.
    ///
    /// # Errors
    /// `Proof` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let bytes: &[u8; PROOF_BYTES] = bytes.try_into().map_err(|_| Error::Proof)?;
        let scalar = |half: &[u8]| {
            let half = half.try_into().map_err(|_| Error::Proof)?;
            Option::from(Scalar::from_canonical_bytes(half)).ok_or(Error::Proof)
        };
        let (c, s) = bytes.split_at(PROOF_BYTES / 2);
        Ok(Self { c: scalar(c)?, s: scalar(s)? })
    }

    /// The 64 bytes of this proof.
    pub fn to_bytes(&self) -> [u8; PROOF_BYTES] {
        let mut bytes = [0; PROOF_BYTES];
        bytes[..32].copy_from_slice(self.c.as_bytes());
        bytes[32..].copy_from_slice(self.s.as_bytes());
        bytes
    }
}

/// The label of a frame's binding (protocols/specs/oprf.md, section 8).
const FRAME: &[u8] = b"psishare/proof/v1";

/// What the weight of a row depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weighing {
    /// The public key and that row alone, as RFC 9497 has it: for published vectors. Whoever knows
    /// the key finds wrong answers whose weighted errors cancel, by generalised birthdays.
    Row,
    /// All rows of the frame: to change one answer is to draw every weight anew.
    Frame,
}

/// One frame as both sides see it.
pub(crate) struct Statement<'a> {
    pub(crate) mode: &'a Mode,
    pub(crate) weighing: Weighing,
    /// B.
    pub(crate) public_key: &'a Encoding,
    /// C, as received or sent.
    pub(crate) blinded: &'a [Encoding],
    /// C, decoded, in the same order.
    pub(crate) blinded_batches: &'a [Batch],
    /// D, as sent or received.
    pub(crate) evaluated: &'a [Encoding],
}

impl Statement<'_> {
    /// `GenerateProof` (section 2.2.1) with the given nonce, which must be fresh for every proof.
    pub(crate) fn prove(&self, key: &SecretScalar, nonce: &SecretScalar) -> Proof {
        let (k, r) = (key.expose(), nonce.expose());
        // (M, Z) = ComputeCompositesFast(k, B, C, D), section 2.2.1: Z = k * M
        let m = vartime_sum(self.blinded_batches, &self.weights());
        let z = m.times(k);
        // t2 = r * A
        // t3 = r * M
        let t2 = Element::generator_times(r);
        let t3 = m.times(r);
        // c = G.HashToScalar(h2Input)
        // s = r - c * k
        let c = self.challenge(&[m, z, t2, t3]);
        let ck = Zeroizing::new(c * k);
        Proof { c, s: r - *ck }
    }

    /// `VerifyProof` (section 2.2.2); `evaluated_batches` is D, decoded, in order.
    ///
    /// # Errors
    /// `Proof` where it does not hold; `PublicKey` where B is not an element, or the identity.
    pub(crate) fn verify(&self, proof: &Proof, evaluated_batches: &[Batch]) -> Result<(), Error> {
        let b = Element::decode(self.public_key).ok_or(Error::PublicKey)?;
        // (M, Z) = ComputeComposites(B, C, D)
        let weights = self.weights();
        let (m, z) = rayon::join(
            || vartime_sum(self.blinded_batches, &weights),
            || vartime_sum(evaluated_batches, &weights),
        );
        // t2 = ((s * A) + (c * B))
        // t3 = ((s * M) + (c * Z))
        let t2 = b.vartime_combine_generator(&proof.c, &proof.s);
        let t3 = m.vartime_combine(&proof.s, &z, &proof.c);
        // expectedC = G.HashToScalar(h2Input)
        // return expectedC == c
        if self.challenge(&[m, z, t2, t3]) == proof.c { Ok(()) } else { Err(Error::Proof) }
    }

    /// The seed of the weights (`ComputeComposites`, section 2.2.1).
    fn weights_seed(&self) -> [u8; OUTPUT_BYTES] {
        // seedDST = "Seed-" || contextString
        // h1Input = I2OSP(len(Bm), 2) || Bm || I2OSP(len(seedDST), 2) || seedDST
        // seed = Hash(h1Input)
        let mut hash = Sha512::new_with_prefix(length(self.public_key))
            .chain_update(self.public_key)
            .chain_update(length(&self.mode.seed_dst))
            .chain_update(&self.mode.seed_dst);
        if self.weighing == Weighing::Frame {
            // h1Input = h1Input || I2OSP(len(F), 2) || F
            let binding = self.binding();
            hash.update(length(&binding));
            hash.update(binding);
        }
        hash.finalize().into()
    }

    /// `F = SHA-256(label || u32be rows || C_0 || C_1 || ... || D_0 || D_1 || ...)`.
    fn binding(&self) -> [u8; 32] {
        // A frame has at most 65,535 rows, and as many answers as requests.
        let rows = u32::try_from(self.blinded.len()).unwrap_or(u32::MAX);
        Sha256::new_with_prefix(FRAME)
            .chain_update(rows.to_be_bytes())
            .chain_update(self.blinded.as_flattened())
            .chain_update(self.evaluated.as_flattened())
            .finalize()
            .into()
    }

    /// The weights `d_i` of `ComputeComposites` (section 2.2.1).
    fn weights(&self) -> Vec<Scalar> {
        let seed = self.weights_seed();
        let chunks = self.blinded.par_chunks(CHUNK_ROWS).zip(self.evaluated.par_chunks(CHUNK_ROWS));
        chunks
            .enumerate()
            .flat_map_iter(|(chunk, (c, d))| self.chunk_weights(&seed, chunk * CHUNK_ROWS, c, d))
            .collect()
    }

    /// The weights of the rows of `blinded` and `evaluated`, of which the first is row `first`.
    fn chunk_weights(
        &self,
        seed: &[u8],
        first: usize,
        blinded: &[Encoding],
        evaluated: &[Encoding],
    ) -> Vec<Scalar> {
        // h2Input = I2OSP(len(seed), 2) || seed || I2OSP(i, 2) ||
        //           I2OSP(len(Ci), 2) || Ci || I2OSP(len(Di), 2) || Di || "Composite"
        // di = G.HashToScalar(h2Input)
        let bytes = 4 * LENGTH_BYTES + seed.len() + 2 * ELEMENT_BYTES + COMPOSITE.len();
        let mut messages = self.mode.hash_to_scalar.messages(blinded.iter().map(|_| bytes));
        for (row, (c, d)) in blinded.iter().zip(evaluated).enumerate() {
            let i = u16::try_from(first + row).unwrap_or(u16::MAX).to_be_bytes();
            messages
                .write(row, &[&length(seed), seed, &i, &length(c), c, &length(d), d, COMPOSITE]);
        }
        messages.to_scalars()
    }

    /// The challenge over `M, Z, t2, t3`, as both sides compute it.
    fn challenge(&self, elements: &[Element; 4]) -> Scalar {
        // h2Input = I2OSP(len(Bm), 2) || Bm || I2OSP(len(a0), 2) || a0 || ... || a3 || "Challenge"
        let a = elements.map(|element| element.encode());
        let size = length(self.public_key);
        let parts: [&[u8]; 11] = [
            &size,
            self.public_key,
            &size,
            &a[0],
            &size,
            &a[1],
            &size,
            &a[2],
            &size,
            &a[3],
            CHALLENGE,
        ];
        self.mode.hash_to_scalar.hash_to_scalar(&parts)
    }
}

/// The weighted sum of all elements, each core summing a run of batches.
fn vartime_sum(batches: &[Batch], weights: &[Scalar]) -> Element {
    let runs = rayon::current_num_threads().max(1);
    let run_batches = batches.len().div_ceil(runs).max(1);
    let run_rows = run_batches * CHUNK_ROWS;
    batches
        .par_chunks(run_batches)
        .zip(weights.par_chunks(run_rows))
        .map(|(batches, weights)| group::vartime_weighted_sum(batches, weights))
        .reduce_with(|a, b| a.plus(&b))
        .unwrap_or_else(Element::identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;
    use crate::suite::VOPRF;

    /// The weights of a frame of `count` multiples of the generator, answered with twice as much but
    /// in row `changed`.
    fn weights(weighing: Weighing, count: u64, changed: Option<u64>) -> Vec<Scalar> {
        let element = |k: u64| Element::generator_times(&Scalar::from(k)).encode();
        let blinded: Vec<Encoding> = (1..=count).map(element).collect();
        let answer = |k: u64| element(if Some(k) == changed { 2 * k + 1 } else { 2 * k });
        let evaluated: Vec<Encoding> = (1..=count).map(answer).collect();
        let statement = Statement {
            mode: &VOPRF,
            weighing,
            public_key: &element(2),
            blinded: &blinded,
            blinded_batches: &frame::decode(&blinded).unwrap(),
            evaluated: &evaluated,
        };
        statement.weights()
    }

    fn same(a: &[Scalar], b: &[Scalar]) -> usize {
        a.iter().zip(b).filter(|(a, b)| a == b).count()
    }

    #[test]
    fn changing_one_answer_draws_every_weight_of_the_frame_anew() {
        let honest = weights(Weighing::Frame, 20, None);
        let wrong = weights(Weighing::Frame, 20, Some(7));
        assert_eq!((honest.len(), same(&honest, &wrong)), (20, 0));
        // What the RFC has, and what a generalised birthday needs: the other rows keep theirs.
        let honest = weights(Weighing::Row, 20, None);
        assert_eq!(same(&honest, &weights(Weighing::Row, 20, Some(7))), 19);
    }

    #[test]
    fn a_frame_that_begins_like_another_has_other_weights() {
        let (short, long) = (weights(Weighing::Frame, 8, None), weights(Weighing::Frame, 9, None));
        assert_eq!(same(&short, &long), 0);
    }
}
