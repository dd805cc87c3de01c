//! RFC 9497 mode 0x00, OPRF (section 3.3.1), and the steps that mode 0x01 shares with it.
//!
//! psishare's exchanges use mode 0x01. This mode is public for the published vectors.

use zeroize::Zeroizing;

use crate::blinds::Blinds;
use crate::chunks::{self, CHUNK_ROWS};
use crate::fingerprint::{Cut, MAX_BITS};
use crate::group::{Batch, IDENTITY};
use crate::hash_to_curve::Expander;
use crate::secret::{SecretScalar, SecretStrings};
use crate::suite::{OPRF, output_hashes};
use crate::{Encoding, Error, Rows, frame};

/// A server's secret key in mode 0x00.
#[derive(Debug)]
pub struct Key(SecretScalar);

impl Key {
    /// `DeriveKeyPair` (section 3.2.1).
    ///
    /// # Errors
    /// `InfoTooLong`, and `KeyDerivation` where no key is found.
    pub fn derive_key_pair(seed: &[u8; 32], info: &[u8]) -> Result<Self, Error> {
        OPRF.derive_key(seed, info).map(Self)
    }

    /// The secret scalar, little-endian.
    pub fn secret_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.to_bytes()
    }

    /// `BlindEvaluate`.
    ///
    /// # Errors
    /// `Element` for the first row that is the identity or not canonical.
    pub fn blind_evaluate(&self, blinded: &[Encoding]) -> Result<Vec<Encoding>, Error> {
        // evaluatedElement = skS * blindedElement
        Ok(multiply(&frame::decode(blinded)?, &self.0, blinded.len()))
    }

    /// `Evaluate`: the 64-byte outputs of all inputs, one after the other.
    ///
    /// # Errors
    /// `ValueTooLong` and `ValueIsIdentity`.
    pub fn evaluate<R: Rows + ?Sized>(&self, inputs: &R) -> Result<Vec<u8>, Error> {
        evaluate(&OPRF.hash_to_group, &self.0, inputs, Cut::new(MAX_BITS)?)
    }
}

/// `Blind` with the given blinds.
///
/// # Errors
/// `ValueTooLong`, `ValueIsIdentity`, `ColumnsDiffer`, and those of the blinds.
pub fn blind<R: Rows + ?Sized>(inputs: &R, blinds: &Blinds<'_>) -> Result<Vec<Encoding>, Error> {
    blind_under(&OPRF.hash_to_group, inputs, blinds)
}

/// `Finalize`: the 64-byte outputs of all inputs, one after the other.
///
/// # Errors
/// `ColumnsDiffer`, `AnswerRows`, `Element`, and those of the blinds.
pub fn finalize<R: Rows + ?Sized>(
    inputs: &R,
    blinds: &Blinds<'_>,
    evaluated: &[Encoding],
) -> Result<Vec<u8>, Error> {
    unblind(inputs, blinds, &frame::decode(evaluated)?, evaluated.len(), Cut::new(MAX_BITS)?)
}

/// `Blind` under the domain tag of `expander`.
pub(crate) fn blind_under<R: Rows + ?Sized>(
    expander: &Expander,
    inputs: &R,
    blinds: &Blinds<'_>,
) -> Result<Vec<Encoding>, Error> {
    check_columns(inputs.len(), blinds.len())?;
    let mut blinded = vec![IDENTITY; inputs.len()];
    chunks::fill(&mut blinded, 1, |rows, out| {
        // inputElement = G.HashToGroup(input)
        // if inputElement == G.Identity(): raise InvalidInputError
        let input_elements = expander.hash_to_group(inputs, rows.clone())?;
        // blindedElement = blind * inputElement
        input_elements.multiply_each(&blinds.scalars(rows)?, out);
        Ok(())
    })?;
    Ok(blinded)
}

/// `scalar` times each element of a decoded frame.
pub(crate) fn multiply(batches: &[Batch], scalar: &SecretScalar, rows: usize) -> Vec<Encoding> {
    let mut products = vec![IDENTITY; rows];
    let filled = chunks::fill(&mut products, 1, |rows, out| {
        batches[rows.start / CHUNK_ROWS].multiply(scalar.expose(), out);
        Ok(())
    });
    debug_assert!(filled.is_ok());
    products
}

/// `Evaluate` under the domain tag of `expander`, each output cut to a fingerprint.
pub(crate) fn evaluate<R: Rows + ?Sized>(
    expander: &Expander,
    key: &SecretScalar,
    inputs: &R,
    cut: Cut,
) -> Result<Vec<u8>, Error> {
    let mut outputs = vec![0; inputs.len() * cut.bytes()];
    chunks::fill(&mut outputs, cut.bytes(), |rows, out| {
        // inputElement = G.HashToGroup(input)
        // if inputElement == G.Identity(): raise InvalidInputError
        let input_elements = expander.hash_to_group(inputs, rows.clone())?;
        // evaluatedElement = skS * inputElement
        // issuedElement = G.SerializeElement(evaluatedElement)
        let mut issued = SecretStrings::zeroed(rows.len());
        input_elements.multiply(key.expose(), &mut issued);
        cut.apply_each(&output_hashes(inputs, rows, &issued), out);
        Ok(())
    })?;
    Ok(outputs)
}

/// `Finalize` of a decoded answer of `rows` rows, each output cut to a fingerprint.
pub(crate) fn unblind<R: Rows + ?Sized>(
    inputs: &R,
    blinds: &Blinds<'_>,
    evaluated: &[Batch],
    rows: usize,
    cut: Cut,
) -> Result<Vec<u8>, Error> {
    check_columns(inputs.len(), blinds.len())?;
    if rows != inputs.len() {
        return Err(Error::AnswerRows { expected: inputs.len(), found: rows });
    }
    let mut outputs = vec![0; rows * cut.bytes()];
    chunks::fill(&mut outputs, cut.bytes(), |rows, out| {
        // N = G.ScalarInverse(blind) * evaluatedElement
        // unblindedElement = G.SerializeElement(N)
        let mut unblinded = SecretStrings::zeroed(rows.len());
        let inverses = blinds.inverses(rows.clone())?;
        evaluated[rows.start / CHUNK_ROWS].multiply_each(&inverses, &mut unblinded);
        cut.apply_each(&output_hashes(inputs, rows, &unblinded), out);
        Ok(())
    })?;
    Ok(outputs)
}

/// Check that two columns have one length.
pub(crate) fn check_columns(expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::ColumnsDiffer { expected, found }) }
}
