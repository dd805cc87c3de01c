//! ristretto255 (RFC 9496), behind one door.
//!
//! Every protocol reaches the group through [`Batch`], whose operations are whole steps on many
//! elements: the one-way map, decoding, and multiplying by one scalar for all or by one for each,
//! which ends in encodings. A backend that computes on several elements at once is added here, as
//! another form of `Batch`, and no protocol changes. [`Element`] is for the few single elements of
//! keys and proofs. What an encoding is, and which ones are refused, is the same for all backends.

mod dalek;
#[cfg(target_arch = "x86_64")]
pub(crate) mod simd;

use std::sync::{LazyLock, OnceLock};

use curve25519_dalek::Scalar;

#[cfg(target_arch = "x86_64")]
use crate::backend;

pub(crate) use dalek::Element;

/// Bytes of an encoded element.
pub const ELEMENT_BYTES: usize = 32;

/// The canonical encoding of an element (RFC 9496 section 4.3.2).
pub type Encoding = [u8; ELEMENT_BYTES];

/// The encoding of the identity.
pub(crate) const IDENTITY: Encoding = [0; ELEMENT_BYTES];

/// A run of elements in the form that the chosen backend computes on; zeroized when dropped.
pub(crate) struct Batch(Form);

enum Form {
    Dalek(dalek::Batch),
    #[cfg(target_arch = "x86_64")]
    Simd(simd::Batch),
}

impl Batch {
    /// Map each 64 uniform bytes to an element (RFC 9496 section 4.3.4).
    pub(crate) fn one_way_map(uniform: &[[u8; 64]]) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = backend::ifma() {
            return Self(Form::Simd(simd::Batch::one_way_map(ifma, uniform)));
        }
        Self(Form::Dalek(dalek::Batch::one_way_map(uniform)))
    }

    /// Decode a run of elements (RFC 9496 section 4.3.1, RFC 9497 `DeserializeElement`).
    ///
    /// # Errors
    /// The first row that is the identity or not canonical.
    pub(crate) fn decode(encodings: &[Encoding]) -> Result<Self, usize> {
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = backend::ifma() {
            return simd::Batch::decode(ifma, encodings).map(Form::Simd).map(Self);
        }
        dalek::Batch::decode(encodings).map(Form::Dalek).map(Self)
    }

    /// The number of elements.
    fn rows(&self) -> usize {
        match &self.0 {
            Form::Dalek(batch) => batch.rows(),
            #[cfg(target_arch = "x86_64")]
            Form::Simd(batch) => batch.rows(),
        }
    }

    /// The first row that is the identity.
    pub(crate) fn first_identity(&self) -> Option<usize> {
        match &self.0 {
            Form::Dalek(batch) => batch.first_identity(),
            #[cfg(target_arch = "x86_64")]
            Form::Simd(batch) => batch.first_identity(),
        }
    }

    /// Encode `scalar` times each element; constant-time.
    ///
    /// `out` has a place for each element.
    pub(crate) fn multiply(&self, scalar: &Scalar, out: &mut [Encoding]) {
        match &self.0 {
            Form::Dalek(batch) => batch.multiply(scalar, out),
            #[cfg(target_arch = "x86_64")]
            Form::Simd(batch) => batch.multiply(scalar, out),
        }
    }

    /// Encode each element times its own scalar; constant-time.
    ///
    /// `scalars` and `out` have a place for each element.
    pub(crate) fn multiply_each(&self, scalars: &[Scalar], out: &mut [Encoding]) {
        match &self.0 {
            Form::Dalek(batch) => batch.multiply_each(scalars, out),
            #[cfg(target_arch = "x86_64")]
            Form::Simd(batch) => batch.multiply_each(scalars, out),
        }
    }

    /// Encode each element plus its own scalar times `base`; constant-time.
    ///
    /// `scalars` and `out` have a place for each element.
    pub(crate) fn add_multiples(&self, base: &FixedBase, scalars: &[Scalar], out: &mut [Encoding]) {
        match &self.0 {
            Form::Dalek(batch) => {
                let multiples = base.dalek.get_or_init(|| dalek::FixedBase::new(&base.element));
                batch.add_multiples(multiples, scalars, out);
            }
            #[cfg(target_arch = "x86_64")]
            Form::Simd(batch) => {
                let multiples =
                    base.simd.get_or_init(|| simd::fixed_base(batch.ifma(), &base.element));
                batch.add_multiples(multiples, scalars, out);
            }
        }
    }
}

/// An element that many secret scalars are multiplied by: its multiples are computed beforehand, in
/// the form of each backend that asks for them.
pub(crate) struct FixedBase {
    element: Element,
    dalek: OnceLock<dalek::FixedBase>,
    #[cfg(target_arch = "x86_64")]
    simd: OnceLock<simd::FixedBase>,
}

/// The generator's multiples.
pub(crate) static GENERATOR: LazyLock<FixedBase> =
    LazyLock::new(|| FixedBase::new(Element::generator()));

impl FixedBase {
    pub(crate) fn new(element: Element) -> Self {
        Self {
            element,
            dalek: OnceLock::new(),
            #[cfg(target_arch = "x86_64")]
            simd: OnceLock::new(),
        }
    }
}

/// The sum of each element times its weight, over the elements of `batches` in order; in variable
/// time, so for public elements and public weights.
///
/// `weights` has one for each element.
pub(crate) fn vartime_weighted_sum(batches: &[Batch], weights: &[Scalar]) -> Element {
    let mut rest = weights;
    let mut portable = Vec::new();
    #[cfg(target_arch = "x86_64")]
    let mut simd = Vec::new();
    for batch in batches {
        let (here, next) = rest.split_at(batch.rows());
        rest = next;
        match &batch.0 {
            Form::Dalek(batch) => portable.push((batch, here)),
            #[cfg(target_arch = "x86_64")]
            Form::Simd(batch) => simd.push((batch, here)),
        }
    }
    let sum = dalek::vartime_weighted_sum(&portable);
    #[cfg(target_arch = "x86_64")]
    let sum = sum.plus(&simd::vartime_weighted_sum(&simd));
    sum
}

/// Map 64 uniform bytes to an element and encode it (RFC 9496 section 4.3.4).
pub fn one_way_map(uniform: &[u8; 64]) -> Encoding {
    let mut out = [IDENTITY];
    Batch::one_way_map(std::slice::from_ref(uniform)).multiply(&Scalar::ONE, &mut out);
    out[0]
}

/// Tell whether `encoding` decodes to an element (RFC 9496 section 4.3.1); true for the identity,
/// which protocols refuse nonetheless.
pub fn is_canonical_element(encoding: &Encoding) -> bool {
    *encoding == IDENTITY || Batch::decode(std::slice::from_ref(encoding)).is_ok()
}
