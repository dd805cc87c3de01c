//! The backend of `curve25519-dalek`, which itself picks AVX2 or plain 64-bit code at run time.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoBasepointTable};
use curve25519_dalek::traits::{Identity, IsIdentity, VartimeMultiscalarMul};
use curve25519_dalek::{RistrettoPoint, Scalar};
use zeroize::Zeroizing;

use super::{Encoding, IDENTITY};

/// A run of elements.
pub(super) struct Batch(Zeroizing<Vec<RistrettoPoint>>);

impl Batch {
    pub(super) fn one_way_map(uniform: &[[u8; 64]]) -> Self {
        Self(Zeroizing::new(uniform.iter().map(RistrettoPoint::from_uniform_bytes).collect()))
    }

    pub(super) fn decode(encodings: &[Encoding]) -> Result<Self, usize> {
        let mut points = Zeroizing::new(Vec::with_capacity(encodings.len()));
        for (row, encoding) in encodings.iter().enumerate() {
            points.push(Element::decode(encoding).ok_or(row)?.0);
        }
        Ok(Self(points))
    }

    pub(super) fn rows(&self) -> usize {
        self.0.len()
    }

    pub(super) fn first_identity(&self) -> Option<usize> {
        self.0.iter().position(IsIdentity::is_identity)
    }

    pub(super) fn multiply(&self, scalar: &Scalar, out: &mut [Encoding]) {
        let half = Zeroizing::new(scalar.div_by_2());
        let half: &Scalar = &half;
        encode_doubles(self.0.iter().map(|point| point * half), out);
    }

    pub(super) fn multiply_each(&self, scalars: &[Scalar], out: &mut [Encoding]) {
        let halves: Zeroizing<Vec<_>> =
            Zeroizing::new(scalars.iter().map(Scalar::div_by_2).collect());
        encode_doubles(self.0.iter().zip(halves.iter()).map(|(point, half)| point * half), out);
    }

    pub(super) fn add_multiples(&self, base: &FixedBase, scalars: &[Scalar], out: &mut [Encoding]) {
        for ((place, point), scalar) in out.iter_mut().zip(self.0.iter()).zip(scalars) {
            let multiple = Zeroizing::new(&*base.0 * scalar);
            let sum = Zeroizing::new(point + *multiple);
            *place = sum.compress().to_bytes();
        }
    }
}

/// The multiples of an element.
pub(super) struct FixedBase(Box<RistrettoBasepointTable>);

impl FixedBase {
    pub(super) fn new(element: &Element) -> Self {
        Self(Box::new(RistrettoBasepointTable::create(&element.0)))
    }
}

/// Encode twice each point. An encoding needs an inverse square root of its own, the encoding of a
/// double only an inversion, which a batch shares; so products are made with half the scalar.
fn encode_doubles(points: impl Iterator<Item = RistrettoPoint>, out: &mut [Encoding]) {
    let points = Zeroizing::new(points.collect::<Vec<_>>());
    let encodings = RistrettoPoint::double_and_compress_batch(points.iter());
    for (place, encoding) in out.iter_mut().zip(&encodings) {
        *place = encoding.to_bytes();
    }
}

pub(super) fn vartime_weighted_sum(terms: &[(&Batch, &[Scalar])]) -> Element {
    // Collected, because dalek wants to know beforehand that there are as many of both.
    let points: Vec<_> = terms.iter().flat_map(|(batch, _)| batch.0.iter()).collect();
    let weights: Vec<_> = terms.iter().flat_map(|(_, weights)| weights.iter()).collect();
    Element(RistrettoPoint::vartime_multiscalar_mul(weights, points))
}

/// A single element.
#[derive(Clone, Copy)]
pub(crate) struct Element(RistrettoPoint);

impl Element {
    /// Decode an element; `None` for the identity and for what is not canonical.
    pub(crate) fn decode(encoding: &Encoding) -> Option<Self> {
        if *encoding == IDENTITY {
            return None;
        }
        CompressedRistretto(*encoding).decompress().map(Self)
    }

    pub(crate) fn identity() -> Self {
        Self(RistrettoPoint::identity())
    }

    pub(crate) fn encode(&self) -> Encoding {
        self.0.compress().to_bytes()
    }

    pub(crate) fn generator() -> Self {
        Self(RISTRETTO_BASEPOINT_POINT)
    }

    pub(crate) fn negated(&self) -> Self {
        Self(-self.0)
    }

    /// `scalar` times the generator; constant-time.
    pub(crate) fn generator_times(scalar: &Scalar) -> Self {
        Self(RistrettoPoint::mul_base(scalar))
    }

    /// `scalar` times this element; constant-time.
    pub(crate) fn times(&self, scalar: &Scalar) -> Self {
        Self(self.0 * scalar)
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self(self.0 + other.0)
    }

    /// `a * self + b * other`, in variable time.
    pub(crate) fn vartime_combine(&self, a: &Scalar, other: &Self, b: &Scalar) -> Self {
        Self(RistrettoPoint::vartime_multiscalar_mul([a, b], [self.0, other.0]))
    }

    /// `a * self + b * generator`, in variable time.
    pub(crate) fn vartime_combine_generator(&self, a: &Scalar, b: &Scalar) -> Self {
        Self(RistrettoPoint::vartime_multiscalar_mul([a, b], [self.0, RISTRETTO_BASEPOINT_POINT]))
    }
}
