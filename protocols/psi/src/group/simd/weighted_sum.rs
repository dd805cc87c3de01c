//! Sums of points times public weights, in variable time (Pippenger's buckets, eight sums at once).
//!
//! Weights are written with signed digits. For each position of a digit, from the highest, every
//! point is added to the bucket of its digit's magnitude, and the buckets are summed, each as often as
//! its magnitude says. A lane has buckets of its own, so that eight points are added at a time; the
//! lanes are summed in the end.

use core::arch::x86_64::{__m512i, __mmask8};

use curve25519_dalek::Scalar;

use super::digits::biased;
use super::lanes::{LANES, splat, transpose};
use super::point::{Cached8, Extended8};

const SCALAR_BYTES: usize = 32;
/// Registers of a point of one lane: twenty limbs and four zeros.
const POINT_REGISTERS: usize = 3;

/// Eight points, ready to be added, and the digits of their weights.
pub(super) struct Term8 {
    addend: Cached8,
    /// The bytes of each weight + Σ bias · 256ⁱ, lane by lane for each i.
    digits: [[u8; LANES]; SCALAR_BYTES],
}

/// A sum whose digits have `BITS` bits, 4 or 8: more need fewer additions of points, and more
/// buckets.
pub(super) struct Pippenger<const BITS: usize>(Vec<Term8>);

/// A point of one lane: its coordinates' limbs, one after the other.
#[derive(Clone, Copy)]
struct Bucket([__m512i; POINT_REGISTERS]);

/// The buckets of one position, those of the same magnitude together.
struct Buckets(Vec<[Bucket; LANES]>);

impl<const BITS: usize> Pippenger<BITS> {
    const BYTE_DIGITS: usize = 8 / BITS;
    const MAX_MAGNITUDE: usize = 1 << (BITS - 1);
    /// The bias of a digit, in each digit of a byte.
    const BYTE_BIAS: u8 = if BITS == 8 { 0x80 } else { 0x88 };

    /// A sum of so many times eight points at most.
    pub(super) fn with_capacity(terms: usize) -> Self {
        Self(Vec::with_capacity(terms))
    }

    /// Add points with their weights, of which there may be fewer than eight: the other lanes of
    /// `points` are left out.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn push(&mut self, points: &Extended8, weights: &[Scalar]) {
        let mut digits = [[Self::BYTE_BIAS; LANES]; SCALAR_BYTES];
        for (lane, weight) in weights.iter().enumerate() {
            let mut string = [0; SCALAR_BYTES];
            biased(weight.as_bytes(), Self::BYTE_BIAS, &mut string);
            for (place, byte) in digits.iter_mut().zip(string) {
                place[lane] = byte;
            }
        }
        self.0.push(Term8 { addend: points.cached(), digits });
    }

    /// The sum of everything, in every lane.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn vartime_sum(&self) -> Extended8 {
        let mut buckets = Buckets::new(Self::MAX_MAGNITUDE);
        let mut sum = Extended8::identity();
        for position in (0..SCALAR_BYTES * Self::BYTE_DIGITS).rev() {
            for _ in 0..BITS {
                sum = sum.projective().double().extended();
            }
            buckets.clear();
            for term in &self.0 {
                let (magnitudes, negative) = Self::digits(term, position);
                buckets.add(&magnitudes, &term.addend.negate_where(negative));
            }
            sum = sum.plus(&buckets.weighted_sum().cached()).extended();
        }
        sum.sum_of_lanes()
    }

    /// The magnitudes of the digits at a position, and the lanes where they are negative.
    fn digits(term: &Term8, position: usize) -> ([usize; LANES], __mmask8) {
        let shift = position % Self::BYTE_DIGITS * BITS;
        let mut magnitudes = [0; LANES];
        let mut negative = 0;
        let bytes = &term.digits[position / Self::BYTE_DIGITS];
        for (lane, (magnitude, byte)) in magnitudes.iter_mut().zip(bytes).enumerate() {
            let biased = usize::from(byte >> shift) % (1 << BITS);
            *magnitude = biased.abs_diff(Self::MAX_MAGNITUDE);
            negative |= u8::from(biased < Self::MAX_MAGNITUDE) << lane;
        }
        (magnitudes, negative)
    }
}

impl Buckets {
    /// Empty buckets for magnitudes up to `max_magnitude`. That of 0 takes what is not counted.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn new(max_magnitude: usize) -> Self {
        Self(vec![[Bucket([splat(0); POINT_REGISTERS]); LANES]; max_magnitude + 1])
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn clear(&mut self) {
        let identity = Extended8::identity();
        for magnitude in 0..self.0.len() {
            self.store(&[magnitude; LANES], &identity);
        }
    }

    /// Add a point to a bucket of each lane.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn add(&mut self, magnitudes: &[usize; LANES], addend: &Cached8) {
        let sum = self.load(magnitudes).plus(addend).extended();
        self.store(magnitudes, &sum);
    }

    /// The sum of all buckets, each as often as its magnitude, in each lane.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn weighted_sum(&self) -> Extended8 {
        // The sums of the buckets from each magnitude up, summed.
        let mut from_here = Extended8::identity();
        let mut sum = Extended8::identity();
        for magnitude in (1..self.0.len()).rev() {
            let bucket = self.load(&[magnitude; LANES]);
            from_here = from_here.plus(&bucket.cached()).extended();
            sum = sum.plus(&from_here.cached()).extended();
        }
        sum
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn load(&self, magnitudes: &[usize; LANES]) -> Extended8 {
        let mut parts = [[splat(0); LANES]; POINT_REGISTERS];
        for (lane, &magnitude) in magnitudes.iter().enumerate() {
            for (part, register) in parts.iter_mut().zip(self.0[magnitude][lane].0) {
                part[lane] = register;
            }
        }
        let mut limbs = [splat(0); POINT_REGISTERS * LANES];
        for (place, part) in limbs.chunks_exact_mut(LANES).zip(&parts) {
            place.copy_from_slice(&transpose(part));
        }
        Extended8::from_limbs(&limbs)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn store(&mut self, magnitudes: &[usize; LANES], points: &Extended8) {
        let limbs: [__m512i; POINT_REGISTERS * LANES] = points.to_limbs();
        for (part, chunk) in limbs.as_chunks().0.iter().enumerate() {
            for (lane, register) in transpose(chunk).into_iter().enumerate() {
                self.0[magnitudes[lane]][lane].0[part] = register;
            }
        }
    }
}
