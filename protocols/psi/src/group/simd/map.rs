//! The one-way map of RFC 9496 section 4.3.4, eight strings at a time.

use super::constants::{D, D_MINUS_ONE_SQ, ONE_MINUS_D_SQ, SQRT_AD_MINUS_ONE, SQRT_M1};
use super::field::{FieldElement8, MINUS_ONE, ONE, sqrt_ratio, words_of};
use super::lanes::LANES;
use super::point::{Completed8, Extended8};

/// Map the first and the second halves of eight strings of 64 bytes to points.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn one_way_map(halves: &[[[u8; 32]; LANES]; 2]) -> Extended8 {
    // t1, t2: the lower 255 bits of each half, modulo p
    // return MAP(t1) + MAP(t2)
    let [p1, p2] = map([
        FieldElement8::from_words(&words_of(&halves[0])),
        FieldElement8::from_words(&words_of(&halves[1])),
    ]);
    p1.plus(&p2.cached()).extended()
}

/// `MAP` of two elements, whose square roots are computed side by side.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn map(t: [FieldElement8; 2]) -> [Extended8; 2] {
    let fractions = [Fraction::new(t[0]), Fraction::new(t[1])];
    let [root1, root2] =
        sqrt_ratio(&[fractions[0].u, fractions[1].u], &[fractions[0].v, fractions[1].v]);
    [fractions[0].point(root1), fractions[1].point(root2)]
}

/// The fraction of which `MAP` takes the square root, and what it was made from.
struct Fraction {
    t: FieldElement8,
    r: FieldElement8,
    u: FieldElement8,
    v: FieldElement8,
}

impl Fraction {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn new(t: FieldElement8) -> Self {
        let one = FieldElement8::constant(&ONE);
        let d = FieldElement8::constant(&D);
        // r = SQRT_M1 * t^2
        let r = FieldElement8::constant(&SQRT_M1).times(t.square());
        // u = (r + 1) * ONE_MINUS_D_SQ
        let u = r.plus(one).carry().times(FieldElement8::constant(&ONE_MINUS_D_SQ));
        // v = (-1 - r*D) * (r + D)
        let minus_one = FieldElement8::constant(&MINUS_ONE);
        let v = minus_one.minus(r.times(d)).carry().times(r.plus(d).carry());
        Self { t, r, u, v }
    }

    /// The point, from what `SQRT_RATIO_M1(u, v)` answers.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn point(&self, (was_square, root): (u8, FieldElement8)) -> Extended8 {
        let one = FieldElement8::constant(&ONE);
        // s_prime = -CT_ABS(s*t)
        // s = CT_SELECT(s IF was_square ELSE s_prime)
        let s_prime = root.times(self.t).absolute().negate();
        let s = s_prime.select(was_square, root);
        // c = CT_SELECT(-1 IF was_square ELSE r)
        let c = self.r.select(was_square, FieldElement8::constant(&MINUS_ONE));
        // N = c * (r - 1) * D_MINUS_ONE_SQ - v
        let n = c
            .times(self.r.minus(one).carry())
            .times(FieldElement8::constant(&D_MINUS_ONE_SQ))
            .minus(self.v)
            .carry();
        // w0 = 2 * s * v
        // w1 = N * SQRT_AD_MINUS_ONE
        // w2 = 1 - s^2
        // w3 = 1 + s^2
        let w0 = s.times_wide(self.v).double().carry();
        let w1 = n.times(FieldElement8::constant(&SQRT_AD_MINUS_ONE));
        let ss = s.square();
        let w2 = one.minus(ss).carry();
        let w3 = one.plus(ss).carry();
        // return (w0*w3, w2*w1, w1*w3, w0*w2)
        Completed8 { e: w0, f: w3, g: w1, h: w2 }.extended()
    }
}
