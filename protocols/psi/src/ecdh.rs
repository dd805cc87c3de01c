//! psishare's symmetric protocol (`protocols/specs/ecdh.md`): each party's secret scalar times the
//! hash of each of its values, then times each of the other's elements.

use std::sync::LazyLock;

use rayon::prelude::*;

use crate::chunks::CHUNK_ROWS;
use crate::group::{Batch, IDENTITY};
use crate::hash_to_curve::Expander;
use crate::secret::SecretScalar;
use crate::{Encoding, Error, Rows, chunks};

/// The domain separation tag of this protocol's hash to the group: its own, so that no element of
/// `ecdh` is ever one of `oprf`.
const DST: &[u8] = b"HashToGroup-psishare/ecdh/v1-ristretto255-SHA512";

static HASH_TO_GROUP: LazyLock<Expander> = LazyLock::new(|| Expander::new(&[DST]));

/// One party's secret scalar of one exchange.
#[derive(Debug)]
pub struct EcdhScalar(SecretScalar);

impl EcdhScalar {
    pub(crate) fn new(scalar: SecretScalar) -> Self {
        Self(scalar)
    }

    /// The scalar times the hash of each value.
    ///
    /// # Errors
    /// `ValueTooLong` and `ValueIsIdentity`.
    pub fn blind<R: Rows + ?Sized>(&self, values: &R) -> Result<Vec<Encoding>, Error> {
        let mut elements = vec![IDENTITY; values.len()];
        chunks::fill(&mut elements, 1, |rows, out| {
            HASH_TO_GROUP.hash_to_group(values, rows)?.multiply(self.0.expose(), out);
            Ok(())
        })?;
        Ok(elements)
    }

    /// The scalar times each of the other party's elements.
    ///
    /// # Errors
    /// `Element` for the first row that is the identity or not canonical.
    pub fn multiply(&self, elements: &[Encoding]) -> Result<Vec<Encoding>, Error> {
        let mut products = vec![IDENTITY; elements.len()];
        chunks::fill(&mut products, 1, |rows, out| {
            let batch = Batch::decode(&elements[rows]).map_err(|row| Error::Element { row })?;
            batch.multiply(self.0.expose(), out);
            Ok(())
        })?;
        Ok(products)
    }
}

/// Refuse what is not a column of elements, without the cost of multiplying them.
///
/// # Errors
/// `Element` for the first row that is the identity or not canonical.
pub fn require_elements(elements: &[Encoding]) -> Result<(), Error> {
    elements
        .par_chunks(CHUNK_ROWS)
        .enumerate()
        .find_map_first(|(chunk, part)| {
            Batch::decode(part).err().map(|row| Error::Element { row: chunk * CHUNK_ROWS + row })
        })
        .map_or(Ok(()), Err)
}
