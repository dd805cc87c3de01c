//! Encoding of ristretto255 elements and of their doubles, eight at a time.
//!
//! RFC 9496's `Encode` needs an inverse square root for each element. Where an element can be made
//! as a double, as products can, that is spared: the encoding of a double is a rational function of the element (M. Hamburg's isogeny, section 6 of "Decaf", as in dalek's
//! `double_and_compress_batch`), so that one inversion serves a whole batch.

use core::arch::x86_64::{__mmask8, _mm512_maskz_mov_epi64};

use zeroize::{Zeroize, Zeroizing};

use super::constants::{D, INVSQRT_A_MINUS_D, SQRT_M1};
use super::field::{FieldElement8, ONE, ZERO, invert, sqrt_ratio, strings_of};
use super::lanes::LANES;
use super::point::Extended8;
use crate::group::Encoding;

/// Encode `N` times eight points (RFC 9496 section 4.3.2) into `out`, which has as many places as there
/// are rows, with their square roots side by side.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn encode<const N: usize>(points: &[Extended8; N], out: &mut [Encoding]) {
    let one = FieldElement8::constant(&ONE);
    let mut u1 = Zeroizing::new([one; N]);
    let mut u2 = Zeroizing::new([one; N]);
    let mut fractions = Zeroizing::new([one; N]);
    for (k, Extended8 { x, y, z, .. }) in points.iter().enumerate() {
        // u1 = (z0 + y0) * (z0 - y0)
        // u2 = x0 * y0
        u1[k] = z.plus(*y).carry().times(z.minus(*y).carry());
        u2[k] = x.times(*y);
        fractions[k] = u1[k].times(u2[k].square());
    }
    // (_, invsqrt) = SQRT_RATIO_M1(1, u1 * u2^2)
    let roots = Zeroizing::new(sqrt_ratio(&[one; N], &fractions));
    for (k, places) in out.chunks_mut(LANES).enumerate() {
        let encodings = encode_with_root(&points[k], u1[k], u2[k], roots[k].1);
        places.copy_from_slice(&encodings[..places.len()]);
    }
}

/// The rest of `Encode`, after the inverse square root.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn encode_with_root(
    point: &Extended8,
    u1: FieldElement8,
    u2: FieldElement8,
    invsqrt: FieldElement8,
) -> [Encoding; LANES] {
    let &Extended8 { x: x0, y: y0, z: z0, t: t0 } = point;
    let i = FieldElement8::constant(&SQRT_M1);
    // den1 = invsqrt * u1
    // den2 = invsqrt * u2
    // z_inv = den1 * den2 * t0
    let den1 = invsqrt.times(u1);
    let den2 = invsqrt.times(u2);
    let z_inv = den1.times(den2).times(t0);
    // rotate = IS_NEGATIVE(t0 * z_inv)
    // x = CT_SELECT(y0 * SQRT_M1 IF rotate ELSE x0)
    // y = CT_SELECT(x0 * SQRT_M1 IF rotate ELSE y0)
    // den_inv = CT_SELECT(den1 * INVSQRT_A_MINUS_D IF rotate ELSE den2)
    let rotate = t0.times(z_inv).is_negative();
    let x = x0.select(rotate, y0.times(i));
    let y = y0.select(rotate, x0.times(i));
    let enchanted_denominator = den1.times(FieldElement8::constant(&INVSQRT_A_MINUS_D));
    let den_inv = den2.select(rotate, enchanted_denominator);
    // y = CT_NEG(y, IS_NEGATIVE(x * z_inv))
    // s = CT_ABS(den_inv * (z - y))
    let y = y.negate_where(x.times(z_inv).is_negative());
    let s = den_inv.times(z0.minus(y).carry()).absolute();
    strings_of(&s.to_words())
}

/// What the encoding of a double is made from: 2P = (E/G, H/F).
#[derive(Clone, Copy, Zeroize)]
struct Double8 {
    e: FieldElement8,
    f: FieldElement8,
    g: FieldElement8,
    h: FieldElement8,
    eg: FieldElement8,
    fh: FieldElement8,
    /// EFGH, or 1 in the lanes where that is zero.
    efgh: FieldElement8,
    /// The lanes of the identity, where EFGH is zero: its inverse would make the product of the
    /// whole batch zero.
    identity: __mmask8,
    /// The product of `efgh` of all groups before this.
    before: FieldElement8,
}

/// Encode twice each point into `out`, which has as many places as there are rows, at most eight for
/// each group of points.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn encode_doubles(points: &[Extended8], out: &mut [Encoding]) {
    let mut product = FieldElement8::constant(&ONE);
    let mut doubles = Zeroizing::new(Vec::with_capacity(points.len()));
    for point in points {
        let double = Double8::new(point, product);
        product = product.times(double.efgh);
        doubles.push(double);
    }
    let mut inverse = invert(product);
    for (double, places) in doubles.iter().zip(out.chunks_mut(LANES)).rev() {
        places.copy_from_slice(&double.encode(inverse.times(double.before))[..places.len()]);
        inverse = inverse.times(double.efgh);
    }
}

impl Double8 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn new(point: &Extended8, before: FieldElement8) -> Self {
        let xx = point.x.square_wide();
        let yy = point.y.square_wide();
        let zz = point.z.square();
        let dtt = FieldElement8::constant(&D).times(point.t.square());
        // E = 2XY, F = Z² + dT², G = Y² + X², H = Z² − dT²
        let e = point.x.times_wide(point.y).double().carry();
        let f = zz.plus(dtt).carry();
        let g = yy.plus(xx).carry();
        let h = zz.minus(dtt).carry();
        let eg = e.times(g);
        let fh = f.times(h);
        let efgh = eg.times(fh);
        let identity = efgh.equals(&ZERO);
        let efgh = efgh.select(identity, FieldElement8::constant(&ONE));
        Self { e, f, g, h, eg, fh, efgh, identity, before }
    }

    /// The encodings, given 1/EFGH.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn encode(&self, inverse: FieldElement8) -> [Encoding; LANES] {
        let i = FieldElement8::constant(&SQRT_M1);
        let z_inverse = self.eg.times(inverse);
        let t_inverse = self.fh.times(inverse);
        // Where xy of the double is negative, the point is rotated by the torsion of order four.
        let rotate = self.eg.times(z_inverse).is_negative();
        let e = self.e.select(rotate, self.g);
        let g = self.g.select(rotate, self.e.negate());
        let h = self.h.select(rotate, self.f.times(i));
        let magic = FieldElement8::constant(&INVSQRT_A_MINUS_D).select(rotate, i);
        // Where x is negative, y changes its sign.
        let g = g.negate_where(h.times(e).times(z_inverse).is_negative());
        let s = h.minus(g).carry().times(magic.times(g.times(t_inverse))).absolute();
        let mut words = s.to_words();
        for word in &mut words {
            *word = _mm512_maskz_mov_epi64(!self.identity, *word);
        }
        strings_of(&words)
    }
}
