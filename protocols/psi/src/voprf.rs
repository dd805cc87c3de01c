//! RFC 9497 mode 0x01, VOPRF (section 3.3.2): psishare's `oprf` protocol. Its proof weighs rows by
//! the whole frame, and its blinds are added (protocols/specs/oprf.md, sections 12 and 13).

use std::fmt;

use zeroize::Zeroizing;

use crate::blinds::Blinds;
use crate::chunks::{self, CHUNK_ROWS};
use crate::dleq::{Proof, Statement, Weighing};
use crate::fingerprint::{Cut, MAX_BITS};
use crate::group::{Batch, Element, FixedBase, GENERATOR, IDENTITY};
use crate::secret::{SecretScalar, SecretStrings};
use crate::suite::{VOPRF, output_hashes};
use crate::{Encoding, Error, Rows, frame, oprf};

/// A platform's secret key and its public key.
pub struct Key {
    secret: SecretScalar,
    public: Encoding,
}

impl Key {
    /// `GenerateKeyPair` (section 3.2) from the operating system's randomness.
    ///
    /// # Errors
    /// `Randomness` where that has none.
    pub fn generate() -> Result<Self, Error> {
        SecretScalar::random().map(Self::new)
    }

    /// `DeriveKeyPair` (section 3.2.1).
    ///
    /// # Errors
    /// `InfoTooLong`, and `KeyDerivation` where no key is found.
    pub fn derive_key_pair(seed: &[u8; 32], info: &[u8]) -> Result<Self, Error> {
        VOPRF.derive_key(seed, info).map(Self::new)
    }

    /// The key whose scalar is encoded in `bytes`.
    ///
    /// # Errors
    /// `SecretKey` unless that is 32 bytes, canonical and not zero.
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<Self, Error> {
        SecretScalar::from_bytes(bytes).map(Self::new).ok_or(Error::SecretKey)
    }

    fn new(secret: SecretScalar) -> Self {
        // pkS = G.ScalarMultGen(skS)
        let public = Element::generator_times(secret.expose()).encode();
        Self { secret, public }
    }

    /// The secret scalar, little-endian, for a key file and nothing else.
    pub fn secret_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.secret.to_bytes()
    }

    /// The public key, `SerializeElement(pkS)`.
    pub fn public_key(&self) -> &Encoding {
        &self.public
    }

    /// `Evaluate`: the 64-byte outputs of all inputs, one after the other.
    ///
    /// # Errors
    /// `ValueTooLong` and `ValueIsIdentity`.
    pub fn evaluate<R: Rows + ?Sized>(&self, inputs: &R) -> Result<Vec<u8>, Error> {
        self.fingerprints(inputs, MAX_BITS)
    }

    /// The first `bits` bits of each output, each in `ceil(bits / 8)` bytes, one after the other.
    ///
    /// # Errors
    /// As [`Key::evaluate`], and `FingerprintBits`.
    pub fn fingerprints<R: Rows + ?Sized>(
        &self,
        inputs: &R,
        bits: usize,
    ) -> Result<Vec<u8>, Error> {
        oprf::evaluate(&VOPRF.hash_to_group, &self.secret, inputs, Cut::new(bits)?)
    }

    /// `BlindEvaluate` of a frame, and the proof that this key was used for all of it.
    ///
    /// # Errors
    /// `FrameRows`; `Element` for the first row that is the identity or not canonical; `Randomness`.
    pub fn blind_evaluate(&self, blinded: &[Encoding]) -> Result<(Vec<Encoding>, Proof), Error> {
        frame::check_rows(blinded.len())?;
        let batches = frame::decode(blinded)?;
        // evaluatedElement = skS * blindedElement
        let evaluated = oprf::multiply(&batches, &self.secret, blinded.len());
        // proof = GenerateProof(skS, G.Generator(), pkS, blindedElements, evaluatedElements)
        let statement = Statement {
            mode: &VOPRF,
            weighing: Weighing::Frame,
            public_key: &self.public,
            blinded,
            blinded_batches: &batches,
            evaluated: &evaluated,
        };
        let proof = statement.prove(&self.secret, &SecretScalar::random()?);
        Ok((evaluated, proof))
    }

    /// The proof of a frame with a given nonce: for vectors, and for nothing else, because a nonce
    /// that is used twice gives the key away.
    ///
    /// # Errors
    /// `FrameRows`, `AnswerRows`, `Element`; `Scalar` where the nonce is zero or not canonical.
    pub fn prove_with(
        &self,
        blinded: &[Encoding],
        evaluated: &[Encoding],
        nonce: &[u8; 32],
    ) -> Result<Proof, Error> {
        self.prove_weighed(Weighing::Frame, blinded, evaluated, nonce)
    }

    /// `GenerateProof` (section 2.2.1) to the letter with a given nonce: for published vectors, and
    /// for nothing else.
    ///
    /// # Errors
    /// As [`Key::prove_with`].
    pub fn prove_rfc9497(
        &self,
        blinded: &[Encoding],
        evaluated: &[Encoding],
        nonce: &[u8; 32],
    ) -> Result<Proof, Error> {
        self.prove_weighed(Weighing::Row, blinded, evaluated, nonce)
    }

    fn prove_weighed(
        &self,
        weighing: Weighing,
        blinded: &[Encoding],
        evaluated: &[Encoding],
        nonce: &[u8; 32],
    ) -> Result<Proof, Error> {
        frame::check_rows(blinded.len())?;
        check_answer(blinded.len(), evaluated.len())?;
        let nonce = SecretScalar::from_bytes(nonce).ok_or(Error::Scalar { row: 0 })?;
        let statement = Statement {
            mode: &VOPRF,
            weighing,
            public_key: &self.public,
            blinded,
            blinded_batches: &frame::decode(blinded)?,
            evaluated,
        };
        Ok(statement.prove(&self.secret, &nonce))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(<redacted>)")
    }
}

/// The blinded element of each input, which is sent (`oprf.md`, section 6).
///
/// # Errors
/// `ValueTooLong`, `ValueIsIdentity`, `ColumnsDiffer`, and those of the blinds.
pub fn blind<R: Rows + ?Sized>(inputs: &R, blinds: &Blinds<'_>) -> Result<Vec<Encoding>, Error> {
    oprf::check_columns(inputs.len(), blinds.len())?;
    let mut blinded = vec![IDENTITY; inputs.len()];
    chunks::fill(&mut blinded, 1, |rows, out| {
        // C_i = HashToGroup(x_i) + r_i * A
        let input_elements = VOPRF.hash_to_group.hash_to_group(inputs, rows.clone())?;
        input_elements.add_multiples(&GENERATOR, &blinds.scalars(rows)?, out);
        Ok(())
    })?;
    Ok(blinded)
}

/// `Blind` (section 3.3.1) to the letter: for published vectors, and for nothing else.
///
/// # Errors
/// As [`blind`].
pub fn blind_rfc9497<R: Rows + ?Sized>(
    inputs: &R,
    blinds: &Blinds<'_>,
) -> Result<Vec<Encoding>, Error> {
    oprf::blind_under(&VOPRF.hash_to_group, inputs, blinds)
}

/// What a platform answers to a frame, and the key that it must have used.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The evaluated elements.
    pub evaluated: &'a [Encoding],
    /// The proof, 64 bytes.
    pub proof: &'a [u8],
    /// The public key that the answer must be proved for.
    pub public_key: &'a Encoding,
}

/// `Finalize` (section 3.3.2, `oprf.md` section 8): verify the proof of a frame, then give the first `bits` bits of each
/// output, each in `ceil(bits / 8)` bytes, one after the other.
///
/// # Errors
/// `Proof`, `PublicKey`, `Element`, `FrameRows`, `AnswerRows` where the answer is at fault;
/// `ColumnsDiffer`, `FingerprintBits` and those of the blinds where the caller is.
pub fn finalize<R: Rows + ?Sized>(
    inputs: &R,
    blinds: &Blinds<'_>,
    blinded: &[Encoding],
    answer: Answer<'_>,
    bits: usize,
) -> Result<Vec<u8>, Error> {
    let cut = Cut::new(bits)?;
    oprf::check_columns(inputs.len(), blinded.len())?;
    oprf::check_columns(inputs.len(), blinds.len())?;
    // if VerifyProof(G.Generator(), pkS, blindedElements, evaluatedElements, proof) == false:
    //   raise VerifyError
    let evaluated_batches = verified(Weighing::Frame, blinded, answer)?;
    let public_key = Element::decode(answer.public_key).ok_or(Error::PublicKey)?;
    unblind(inputs, blinds, &evaluated_batches, &public_key, cut)
}

/// The output of each input, cut to a fingerprint, from a decoded and verified answer.
fn unblind<R: Rows + ?Sized>(
    inputs: &R,
    blinds: &Blinds<'_>,
    evaluated: &[Batch],
    public_key: &Element,
    cut: Cut,
) -> Result<Vec<u8>, Error> {
    let minus_public_key = FixedBase::new(public_key.negated());
    let mut outputs = vec![0; inputs.len() * cut.bytes()];
    chunks::fill(&mut outputs, cut.bytes(), |rows, out| {
        // N = D_j - r_i * B
        let mut unblinded = SecretStrings::zeroed(rows.len());
        let scalars = blinds.scalars(rows.clone())?;
        let batch = &evaluated[rows.start / CHUNK_ROWS];
        batch.add_multiples(&minus_public_key, &scalars, &mut unblinded);
        cut.apply_each(&output_hashes(inputs, rows, &unblinded), out);
        Ok(())
    })?;
    Ok(outputs)
}

/// `VerifyProof` (section 2.2.2) to the letter: for published vectors, and for nothing else.
///
/// # Errors
/// `Proof`, `PublicKey`, `Element`, `FrameRows`, `AnswerRows`.
pub fn verify_rfc9497(blinded: &[Encoding], answer: Answer<'_>) -> Result<(), Error> {
    verified(Weighing::Row, blinded, answer).map(|_| ())
}

/// The evaluated elements of an answer, decoded, once its proof has been verified.
fn verified(
    weighing: Weighing,
    blinded: &[Encoding],
    answer: Answer<'_>,
) -> Result<Vec<Batch>, Error> {
    frame::check_rows(blinded.len())?;
    check_answer(blinded.len(), answer.evaluated.len())?;
    let evaluated_batches = frame::decode(answer.evaluated)?;
    let statement = Statement {
        mode: &VOPRF,
        weighing,
        public_key: answer.public_key,
        blinded,
        blinded_batches: &frame::decode(blinded)?,
        evaluated: answer.evaluated,
    };
    statement.verify(&Proof::from_bytes(answer.proof)?, &evaluated_batches)?;
    Ok(evaluated_batches)
}

fn check_answer(expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::AnswerRows { expected, found }) }
}
