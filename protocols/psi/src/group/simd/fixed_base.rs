//! Scalars times one point that is known beforehand, eight scalars at a time, in constant time.
//!
//! A scalar is written with 64 signed digits, k = Σ dᵢ 16ⁱ, and for each position i there is a
//! register row of the multiples 1 to 8 of 16ⁱ times the point: nothing is doubled when scalars come.
//! The multiples are the lanes of a register, so one permutation picks a multiple for each of eight
//! digits. It takes its indices from a register and reads no memory by them: what it costs does not
//! depend on the digits.

use core::arch::x86_64::{
    __m512i, _mm512_mask_permutexvar_epi64, _mm512_sub_epi64, _mm512_test_epi64_mask,
};

use curve25519_dalek::Scalar;

use super::digits::{DIGITS, Digit8, Digits8, MAX_MAGNITUDE};
use super::field::{FieldElement8, ONE, invert};
use super::lanes::{LANES, splat};
use super::point::{Affine8, Extended8};
use super::scalar_mul::{self, Workspace};

const _: () = assert!(MAX_MAGNITUDE == LANES, "a lane for each multiple");

/// The multiples of one point; public, as the point is.
///
/// For each position of a digit, from the lowest, the multiples 1 to 8, a lane each.
pub(in crate::group) struct FixedBase(Vec<Affine8>);

impl FixedBase {
    /// The multiples of a point that is in all lanes.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn new(point: &Extended8) -> Self {
        let magnitudes = [1_u64, 2, 3, 4, 5, 6, 7, 8].map(Scalar::from);
        let mut multiples =
            scalar_mul::multiply(&mut Workspace::new(), point, &Digits8::of(&magnitudes));
        let mut points = Vec::with_capacity(DIGITS);
        for _ in 0..DIGITS {
            points.push(multiples);
            let double = multiples.projective().double().projective();
            let fourfold = double.double().projective();
            multiples = fourfold.double().projective().double().extended();
        }
        Self(affine(&points))
    }

    /// Each lane's scalar times the point, added to `sum`.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn add(&self, mut sum: Extended8, digits: &Digits8) -> Extended8 {
        for (position, multiples) in self.0.iter().enumerate() {
            let multiple = choose(multiples, &digits.at(position));
            sum = sum.plus_affine(&multiple).extended();
        }
        sum
    }
}

/// The points as they are added fast, by one inversion for all.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn affine(points: &[Extended8]) -> Vec<Affine8> {
    // No Z is zero: the formulas are complete.
    let mut product = FieldElement8::constant(&ONE);
    let mut before = Vec::with_capacity(points.len());
    for point in points {
        before.push(product);
        product = product.times(point.z);
    }
    let mut inverse = invert(product);
    let mut affine = Vec::with_capacity(points.len());
    for (point, before) in points.iter().zip(before).rev() {
        affine.push(point.affine(inverse.times(before)));
        inverse = inverse.times(point.z);
    }
    affine.reverse();
    affine
}

/// Each lane's digit times the point of this position.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn choose(multiples: &Affine8, digit: &Digit8) -> Affine8 {
    let magnitude = digit.magnitude();
    let other_than_zero = _mm512_test_epi64_mask(magnitude, magnitude);
    let lane = _mm512_sub_epi64(magnitude, splat(1));
    // Where the digit is zero, the identity's coordinates stay.
    let mut chosen = Affine8::identity();
    for (place, coordinate) in chosen.0.iter_mut().zip(&multiples.0) {
        let pick = |identity: __m512i, limb: __m512i| {
            _mm512_mask_permutexvar_epi64(identity, other_than_zero, lane, limb)
        };
        let [i0, i1, i2, i3, i4] = place.to_limbs();
        let [l0, l1, l2, l3, l4] = coordinate.to_limbs();
        *place = FieldElement8::from_limbs([
            pick(i0, l0),
            pick(i1, l1),
            pick(i2, l2),
            pick(i3, l3),
            pick(i4, l4),
        ]);
    }
    chosen.negate_where(digit.is_negative())
}
