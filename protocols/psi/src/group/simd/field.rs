//! Eight elements of the field of p = 2^255 − 19, a lane each.
//!
//! Radix 2^51, five limbs, a register for each limb. The multiplier of AVX-512 IFMA reads the low 52
//! bits of each operand and silently drops what is above. A sum of two factors may have such bits,
//! so sums are a type of their own, [`Wide8`], which cannot be multiplied: [`Wide8::carry`] makes a
//! factor of it. Sums of products are carried once, after adding.

use core::arch::x86_64::{
    __m512i, __mmask8, _mm512_add_epi64, _mm512_alignr_epi64, _mm512_and_si512,
    _mm512_cmpeq_epi64_mask, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_mask_mov_epi64,
    _mm512_mullo_epi64, _mm512_or_si512, _mm512_setzero_si512, _mm512_slli_epi64,
    _mm512_srli_epi64, _mm512_sub_epi64, _mm512_test_epi64_mask,
};

use zeroize::Zeroize;

use super::constants::SQRT_M1;
use super::lanes::{LANES, load, splat, store};

const LIMBS: usize = 5;
const LIMB_BITS: u32 = 51;
/// The columns of a product to which most halves are added.
const FULLEST: [usize; 2] = [4, 5];
const LIMB: u64 = (1 << LIMB_BITS) - 1;
/// 2^255 modulo p.
const FOLD: u64 = 19;

/// The limbs of p.
const P: [u64; LIMBS] = [LIMB - 18, LIMB, LIMB, LIMB, LIMB];

/// A field element that is known beforehand, by its limbs.
pub(super) type Constant = [u64; LIMBS];

pub(super) const ZERO: Constant = [0, 0, 0, 0, 0];
pub(super) const ONE: Constant = [1, 0, 0, 0, 0];
pub(super) const TWO: Constant = [2, 0, 0, 0, 0];
pub(super) const MINUS_ONE: Constant = [LIMB - 19, LIMB, LIMB, LIMB, LIMB];

/// Eight field elements, ready to be multiplied.
///
/// # Invariant
/// Limbs are below 2^51 + 2^17, so elements are below 2p.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct FieldElement8([__m512i; LIMBS]);

/// A sum of field elements or of their products, to be carried before it is multiplied.
///
/// # Invariant
/// Limbs are below 2^63. Each function says what it takes and gives.
#[derive(Clone, Copy)]
pub(super) struct Wide8([__m512i; LIMBS]);

/// How large the limbs of a subtrahend may be; what is added to keep the difference positive is a
/// multiple of p with limbs above that and below four times that.
#[derive(Clone, Copy)]
pub(super) enum Below {
    /// A factor: 2p is added.
    Factor,
    /// Limbs below 2^59, as of one product: 2^9 p is added.
    Bits59,
    /// Limbs below 2^60, as of the sum of two products: 2^10 p is added.
    Bits60,
}

impl Below {
    const fn multiple_of_p(self) -> Constant {
        let shift = match self {
            Self::Factor => 1,
            Self::Bits59 => 9,
            Self::Bits60 => 10,
        };
        [P[0] << shift, P[1] << shift, P[2] << shift, P[3] << shift, P[4] << shift]
    }
}

impl FieldElement8 {
    /// The same element in each lane.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn constant(limbs: &Constant) -> Self {
        let [l0, l1, l2, l3, l4] = *limbs;
        Self([splat(l0), splat(l1), splat(l2), splat(l3), splat(l4)])
    }

    /// The elements with these limbs.
    ///
    /// # Invariant
    /// The limbs are those of field elements, in any order of lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn from_limbs(limbs: [__m512i; LIMBS]) -> Self {
        Self(limbs)
    }

    /// The limbs.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn to_limbs(self) -> [__m512i; LIMBS] {
        self.0
    }

    /// The elements, moved down by so many lanes; the lowest become the highest.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn rotated<const BY: i32>(self) -> Self {
        let mut moved = self;
        for limb in &mut moved.0 {
            *limb = _mm512_alignr_epi64::<BY>(*limb, *limb);
        }
        moved
    }

    /// The elements that 256-bit little-endian numbers, given as four words, are modulo p, after
    /// their highest bit is cleared.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn from_words(words: &[__m512i; 4]) -> Self {
        let [w0, w1, w2, w3] = *words;
        let limb = splat(LIMB);
        Self([
            _mm512_and_si512(w0, limb),
            _mm512_and_si512(
                _mm512_or_si512(_mm512_srli_epi64::<51>(w0), _mm512_slli_epi64::<13>(w1)),
                limb,
            ),
            _mm512_and_si512(
                _mm512_or_si512(_mm512_srli_epi64::<38>(w1), _mm512_slli_epi64::<26>(w2)),
                limb,
            ),
            _mm512_and_si512(
                _mm512_or_si512(_mm512_srli_epi64::<25>(w2), _mm512_slli_epi64::<39>(w3)),
                limb,
            ),
            _mm512_and_si512(_mm512_srli_epi64::<12>(w3), limb),
        ])
    }

    /// The canonical little-endian encodings, as four words.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn to_words(self) -> [__m512i; 4] {
        let [l0, l1, l2, l3, l4] = self.canonical();
        [
            _mm512_or_si512(l0, _mm512_slli_epi64::<51>(l1)),
            _mm512_or_si512(_mm512_srli_epi64::<13>(l1), _mm512_slli_epi64::<38>(l2)),
            _mm512_or_si512(_mm512_srli_epi64::<26>(l2), _mm512_slli_epi64::<25>(l3)),
            _mm512_or_si512(_mm512_srli_epi64::<39>(l3), _mm512_slli_epi64::<12>(l4)),
        ]
    }

    /// The limbs of the elements' only representatives in 0..p.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn canonical(self) -> [__m512i; LIMBS] {
        let limb = splat(LIMB);
        // An element x is below 2p. q = (x + 19) >> 255 tells whether it is at least p.
        let mut q = splat(FOLD);
        for x in self.0 {
            q = _mm512_srli_epi64::<LIMB_BITS>(_mm512_add_epi64(x, q));
        }
        // x − qp = x + 19q − 2^255 q, the last term of which is dropped by the last mask.
        let mut carry = _mm512_mullo_epi64(q, splat(FOLD));
        let mut limbs = self.0;
        for x in &mut limbs {
            let sum = _mm512_add_epi64(*x, carry);
            carry = _mm512_srli_epi64::<LIMB_BITS>(sum);
            *x = _mm512_and_si512(sum, limb);
        }
        limbs
    }

    /// The lanes whose element is this constant, which has canonical limbs.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn equals(self, constant: &Constant) -> __mmask8 {
        let limbs = self.canonical();
        let mut equal = !0;
        for (x, &limb) in limbs.into_iter().zip(constant) {
            equal &= _mm512_cmpeq_epi64_mask(x, splat(limb));
        }
        equal
    }

    /// The lanes that are negative: odd, as RFC 9496 section 3.1 defines it.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn is_negative(self) -> __mmask8 {
        _mm512_test_epi64_mask(self.canonical()[0], splat(1))
    }

    /// This element, or `other` in the lanes of `mask`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn select(self, mask: __mmask8, other: Self) -> Self {
        let mut selected = self;
        for (place, x) in selected.0.iter_mut().zip(other.0) {
            *place = _mm512_mask_mov_epi64(*place, mask, x);
        }
        selected
    }

    /// The negated element.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn negate(self) -> Self {
        Self::constant(&ZERO).minus(self).carry()
    }

    /// The element, negated in the lanes of `mask`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn negate_where(self, mask: __mmask8) -> Self {
        self.select(mask, self.negate())
    }

    /// `CT_ABS` of RFC 9496 section 3.1.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn absolute(self) -> Self {
        self.negate_where(self.is_negative())
    }

    /// This element without carrying, for sums; limbs below 2^52.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn widen(self) -> Wide8 {
        Wide8(self.0)
    }

    /// The sum; limbs below 2^53.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn plus(self, other: Self) -> Wide8 {
        self.widen().plus(other.widen())
    }

    /// The difference; limbs below 2^53.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn minus(self, other: Self) -> Wide8 {
        self.widen().minus(other.widen(), Below::Factor)
    }

    /// The product.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn times(self, other: Self) -> Self {
        self.times_wide(other).carry()
    }

    /// The product, to be added to others; limbs below 2^59.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn times_wide(self, other: Self) -> Wide8 {
        let (x, y) = (self.0, other.0);
        // Bits 52 and up of x_i y_j weigh 2^52 = 2 · 2^51 in the column after that of their low
        // ones: the columns of high halves are doubled, and the low halves are added to them.
        let mut high = [_mm512_setzero_si512(); 2 * LIMBS];
        for i in 0..LIMBS {
            for j in 0..LIMBS {
                high[i + j + 1] = _mm512_madd52hi_epu64(high[i + j + 1], x[i], y[j]);
            }
        }
        for column in &mut high {
            *column = _mm512_add_epi64(*column, *column);
        }
        // Each addition to a column waits for the last. In the two fullest, the low halves are
        // summed apart, so that nothing waits for nine in a row.
        let mut columns = high;
        for k in FULLEST {
            columns[k] = _mm512_setzero_si512();
        }
        for i in 0..LIMBS {
            for j in 0..LIMBS {
                columns[i + j] = _mm512_madd52lo_epu64(columns[i + j], x[i], y[j]);
            }
        }
        for k in FULLEST {
            columns[k] = _mm512_add_epi64(columns[k], high[k]);
        }
        fold(columns)
    }

    /// The square.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn square(self) -> Self {
        self.square_wide().carry()
    }

    /// The square, to be added to others; limbs below 2^59.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn square_wide(self) -> Wide8 {
        let x = self.0;
        // As in `times_wide`; x_i x_j with i ≠ j occurs twice, so its halves are doubled once more.
        let mut columns = [_mm512_setzero_si512(); 2 * LIMBS];
        for i in 0..LIMBS {
            for j in i + 1..LIMBS {
                columns[i + j + 1] = _mm512_madd52hi_epu64(columns[i + j + 1], x[i], x[j]);
            }
        }
        for column in &mut columns[2..] {
            *column = _mm512_add_epi64(*column, *column);
        }
        for i in 0..LIMBS {
            columns[2 * i + 1] = _mm512_madd52hi_epu64(columns[2 * i + 1], x[i], x[i]);
            for j in i + 1..LIMBS {
                columns[i + j] = _mm512_madd52lo_epu64(columns[i + j], x[i], x[j]);
            }
        }
        for column in &mut columns[1..] {
            *column = _mm512_add_epi64(*column, *column);
        }
        for i in 0..LIMBS {
            columns[2 * i] = _mm512_madd52lo_epu64(columns[2 * i], x[i], x[i]);
        }
        fold(columns)
    }
}

/// Bring the upper five of ten columns, which weigh 2^255 and more, down to the lower ones.
///
/// Of factors within their invariant, a low half is below 2^52, a doubled high half below 2^51 +
/// 2^18, and the fullest column holds one low half, and 19 times four low and five doubled high
/// halves: less than 2^59.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn fold(columns: [__m512i; 2 * LIMBS]) -> Wide8 {
    let mut folded = [_mm512_setzero_si512(); LIMBS];
    for (k, place) in folded.iter_mut().enumerate() {
        let above = _mm512_mullo_epi64(columns[k + LIMBS], splat(FOLD));
        *place = _mm512_add_epi64(columns[k], above);
    }
    Wide8(folded)
}

impl Wide8 {
    /// The sum with these limbs.
    #[cfg(test)]
    pub(super) fn from_limbs(limbs: [__m512i; LIMBS]) -> Self {
        Self(limbs)
    }

    /// The limbs.
    #[cfg(test)]
    pub(super) fn to_limbs(self) -> [__m512i; LIMBS] {
        self.0
    }

    /// The sum; its limbs are the sums of the limbs.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn plus(self, other: Self) -> Self {
        let mut sum = self;
        for (place, x) in sum.0.iter_mut().zip(other.0) {
            *place = _mm512_add_epi64(*place, x);
        }
        sum
    }

    /// The double.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn double(self) -> Self {
        self.plus(self)
    }

    /// The difference, where the limbs of `other` are below `bound`; its limbs exceed those of this
    /// element by less than four times `bound`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn minus(self, other: Self, bound: Below) -> Self {
        let offset = bound.multiple_of_p();
        let mut difference = self;
        for ((place, x), limb) in difference.0.iter_mut().zip(other.0).zip(offset) {
            *place = _mm512_sub_epi64(_mm512_add_epi64(*place, splat(limb)), x);
        }
        difference
    }

    /// The element as a factor.
    ///
    /// Limbs are below 2^63, so a carry is below 2^12, and 19 times one below 2^17.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn carry(self) -> FieldElement8 {
        let limb = splat(LIMB);
        let [x0, x1, x2, x3, x4] = self.0;
        let low = |x| _mm512_and_si512(x, limb);
        let high = |x| _mm512_srli_epi64::<LIMB_BITS>(x);
        FieldElement8([
            _mm512_madd52lo_epu64(low(x0), high(x4), splat(FOLD)),
            _mm512_add_epi64(low(x1), high(x0)),
            _mm512_add_epi64(low(x2), high(x1)),
            _mm512_add_epi64(low(x3), high(x2)),
            _mm512_add_epi64(low(x4), high(x3)),
        ])
    }
}

/// x^(2^n), for each of `N` elements side by side: each squaring waits for the last, and the chains
/// of several elements hide each other's waiting.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn square_times<const N: usize>(x: &[FieldElement8; N], n: usize) -> [FieldElement8; N] {
    let mut squares = *x;
    for _ in 0..n {
        for square in &mut squares {
            *square = square.square();
        }
    }
    squares
}

/// The products of pairs.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn times_each<const N: usize>(
    x: &[FieldElement8; N],
    y: &[FieldElement8; N],
) -> [FieldElement8; N] {
    let mut products = *x;
    for (product, y) in products.iter_mut().zip(y) {
        *product = product.times(*y);
    }
    products
}

/// x^(2^250 − 1) and x^11, from which the exponents in use are made.
#[expect(clippy::similar_names, reason = "they are powers, named after their exponents")]
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn power_2_250_minus_1<const N: usize>(
    x: &[FieldElement8; N],
) -> ([FieldElement8; N], [FieldElement8; N]) {
    let x2 = square_times(x, 1);
    let x9 = times_each(x, &square_times(&x2, 2));
    let x11 = times_each(&x2, &x9);
    let x31 = times_each(&x9, &square_times(&x11, 1));
    // a_n = x^(2^n − 1), and a_(m+n) = a_m^(2^n) a_n
    let a10 = times_each(&square_times(&x31, 5), &x31);
    let a20 = times_each(&square_times(&a10, 10), &a10);
    let a40 = times_each(&square_times(&a20, 20), &a20);
    let a50 = times_each(&square_times(&a40, 10), &a10);
    let a100 = times_each(&square_times(&a50, 50), &a50);
    let a200 = times_each(&square_times(&a100, 100), &a100);
    let a250 = times_each(&square_times(&a200, 50), &a50);
    (a250, x11)
}

/// The inverse, x^(p − 2), where p − 2 = (2^250 − 1) 2^5 + 11; zero for zero.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn invert(x: FieldElement8) -> FieldElement8 {
    let ([a250], [x11]) = power_2_250_minus_1(&[x]);
    let [shifted] = square_times(&[a250], 5);
    shifted.times(x11)
}

/// `SQRT_RATIO_M1(u, v)` (RFC 9496 section 4.2), for each of `N` pairs: the lanes in which u/v was
/// square, and the root of u/v, or of `SQRT_M1` · u/v, that is not negative.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn sqrt_ratio<const N: usize>(
    u: &[FieldElement8; N],
    v: &[FieldElement8; N],
) -> [(__mmask8, FieldElement8); N] {
    // r = (u * v^3) * (u * v^7)^((p-5)/8), where (p-5)/8 = (2^250 - 1) 2^2 + 1
    let v3 = times_each(&square_times(v, 1), v);
    let v7 = times_each(&square_times(&v3, 1), v);
    let uv3 = times_each(u, &v3);
    let uv7 = times_each(u, &v7);
    let (a250, _) = power_2_250_minus_1(&uv7);
    let power = times_each(&square_times(&a250, 2), &uv7);
    let roots = times_each(&uv3, &power);
    let i = FieldElement8::constant(&SQRT_M1);
    let mut answers = [(0, i); N];
    for (k, answer) in answers.iter_mut().enumerate() {
        let r = roots[k];
        // check = v * r^2
        let check = v[k].times(r.square());
        // correct_sign_sqrt = CT_EQ(check, u)
        let correct = check.minus(u[k]).carry().equals(&ZERO);
        // flipped_sign_sqrt = CT_EQ(check, -u)
        let flipped = check.plus(u[k]).carry().equals(&ZERO);
        // flipped_sign_sqrt_i = CT_EQ(check, -u*SQRT_M1)
        let flipped_i = check.plus(u[k].times(i)).carry().equals(&ZERO);
        // r = CT_SELECT(r_prime IF flipped_sign_sqrt | flipped_sign_sqrt_i ELSE r)
        // r = CT_ABS(r)
        *answer = (correct | flipped, r.select(flipped | flipped_i, r.times(i)).absolute());
    }
    answers
}

/// The four words of each of eight 32-byte strings, a lane each.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn words_of(strings: &[[u8; 32]; LANES]) -> [__m512i; 4] {
    let mut words = [[0; LANES]; 4];
    for (lane, string) in strings.iter().enumerate() {
        let (chunks, _) = string.as_chunks();
        for (word, chunk) in words.iter_mut().zip(chunks) {
            word[lane] = u64::from_le_bytes(*chunk);
        }
    }
    let registers = [load(&words[0]), load(&words[1]), load(&words[2]), load(&words[3])];
    words.zeroize();
    registers
}

/// The eight 32-byte strings whose words these are.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn strings_of(words: &[__m512i; 4]) -> [[u8; 32]; LANES] {
    let mut strings = [[0; 32]; LANES];
    for (word, register) in words.iter().enumerate() {
        for (string, number) in strings.iter_mut().zip(store(*register)) {
            string[8 * word..8 * word + 8].copy_from_slice(&number.to_le_bytes());
        }
    }
    strings
}
