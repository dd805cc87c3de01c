//! Decoding of ristretto255 elements (RFC 9496 section 4.3.1), eight at a time.

use core::arch::x86_64::{__mmask8, _mm512_cmpeq_epi64_mask, _mm512_testn_epi64_mask};

use super::constants::D;
use super::field::{FieldElement8, ONE, ZERO, sqrt_ratio, words_of};
use super::lanes::{LANES, splat};
use super::point::Extended8;

/// Decode `N` times eight strings, with their square roots side by side: the points, and the lanes
/// that hold an element. Each lane is judged alone; what a refused one holds means nothing.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn decode<const N: usize>(
    strings: &[[[u8; 32]; LANES]; N],
) -> [(__mmask8, Extended8); N] {
    let one = FieldElement8::constant(&ONE);
    let mut decoded = [(0, Extended8::identity()); N];
    let mut candidates = [Candidate { canonical: 0, s: one, u1: one, u2: one, v: one }; N];
    let mut fractions = [one; N];
    for k in 0..N {
        candidates[k] = Candidate::new(&strings[k]);
        // (was_square, invsqrt) = SQRT_RATIO_M1(1, v * u2_sqr)
        fractions[k] = candidates[k].v.times(candidates[k].u2.square());
    }
    let roots = sqrt_ratio(&[one; N], &fractions);
    for k in 0..N {
        decoded[k] = candidates[k].point(roots[k]);
    }
    decoded
}

/// What decoding computes before the square root.
#[derive(Clone, Copy)]
struct Candidate {
    canonical: __mmask8,
    s: FieldElement8,
    u1: FieldElement8,
    u2: FieldElement8,
    v: FieldElement8,
}

impl Candidate {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn new(strings: &[[u8; 32]; LANES]) -> Self {
        let words = words_of(strings);
        let s = FieldElement8::from_words(&words);
        // If the string is not what s encodes to, the string is 2^255 or more, or not below p; if s
        // is negative, decoding fails too.
        let mut canonical = _mm512_testn_epi64_mask(words[0], splat(1));
        for (word, encoded) in words.iter().zip(s.to_words()) {
            canonical &= _mm512_cmpeq_epi64_mask(*word, encoded);
        }
        let one = FieldElement8::constant(&ONE);
        // ss = s^2
        // u1 = 1 - ss
        // u2 = 1 + ss
        let ss = s.square();
        let u1 = one.minus(ss).carry();
        let u2 = one.plus(ss).carry();
        // v = -(D * u1^2) - u2_sqr
        let du1_sqr = FieldElement8::constant(&D).times_wide(u1.square());
        let v = du1_sqr.plus(u2.square_wide()).carry().negate();
        Self { canonical, s, u1, u2, v }
    }

    /// The point and whether there is one, from what `SQRT_RATIO_M1` answers.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn point(&self, (was_square, invsqrt): (__mmask8, FieldElement8)) -> (__mmask8, Extended8) {
        // den_x = invsqrt * u2
        // den_y = invsqrt * den_x * v
        let den_x = invsqrt.times(self.u2);
        let den_y = invsqrt.times(den_x).times(self.v);
        // x = CT_ABS(2 * s * den_x)
        // y = u1 * den_y
        // t = x * y
        let x = self.s.times_wide(den_x).double().carry().absolute();
        let y = self.u1.times(den_y);
        let t = x.times(y);
        // If was_square is FALSE, IS_NEGATIVE(t) returns TRUE, or y = 0, decoding fails.
        let valid = self.canonical & was_square & !t.is_negative() & !y.equals(&ZERO);
        (valid, Extended8 { x, y, z: FieldElement8::constant(&ONE), t })
    }
}
