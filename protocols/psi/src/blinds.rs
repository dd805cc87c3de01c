//! Where the blinds of a batch come from.

use std::ops::Range;

use curve25519_dalek::Scalar;
use zeroize::Zeroizing;

use crate::Error;
use crate::secret::SecretScalar;
use crate::seed::{BlindDerivation, Seed};

/// The blinds of a batch of values, one for each row.
pub struct Blinds<'a>(Source<'a>);

enum Source<'a> {
    Derived { derivation: Box<BlindDerivation>, indices: &'a [u64] },
    Given(&'a [[u8; 32]]),
}

impl<'a> Blinds<'a> {
    /// The blinds that `seed` derives for the values with these `indices` in one `pass`
    /// (`oprf.md`, "Blinds").
    pub fn derived(seed: &Seed, pass: u8, indices: &'a [u64]) -> Self {
        Self(Source::Derived { derivation: Box::new(seed.blind_derivation(pass)), indices })
    }

    /// Blinds given as canonical scalars: for published vectors, and for nothing else.
    pub fn given(scalars: &'a [[u8; 32]]) -> Self {
        Self(Source::Given(scalars))
    }

    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Source::Derived { indices, .. } => indices.len(),
            Source::Given(scalars) => scalars.len(),
        }
    }

    /// The blinds of some rows, none of them zero; `rows` of errors count from the first of these.
    pub(crate) fn scalars(&self, rows: Range<usize>) -> Result<Zeroizing<Vec<Scalar>>, Error> {
        match &self.0 {
            Source::Derived { derivation, indices } => derivation.blinds(&indices[rows]),
            Source::Given(given) => {
                let mut scalars = Zeroizing::new(Vec::with_capacity(rows.len()));
                for (row, bytes) in given[rows].iter().enumerate() {
                    let blind = SecretScalar::from_bytes(bytes).ok_or(Error::Scalar { row })?;
                    scalars.push(*blind.expose());
                }
                Ok(scalars)
            }
        }
    }

    /// The inverses of [`Blinds::scalars`], by one inversion for all.
    pub(crate) fn inverses(&self, rows: Range<usize>) -> Result<Zeroizing<Vec<Scalar>>, Error> {
        let mut scalars = self.scalars(rows)?;
        // No blind is zero, as inverting a batch demands.
        Scalar::invert_batch_alloc(&mut scalars);
        Ok(scalars)
    }
}
