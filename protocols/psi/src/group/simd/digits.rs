//! Scalars as signed digits of four bits, eight scalars at a time.
//!
//! k = Σ dᵢ 16ⁱ with −8 ≤ dᵢ < 8. Adding 8 to every digit makes all of them plain: the hexadecimal
//! digits of k + 0x88…88 are dᵢ + 8, so that recoding is one addition.

use core::arch::x86_64::{
    __m128i, __m512i, __mmask8, _mm_cvtsi32_si128, _mm512_and_si512, _mm512_cmplt_epu64_mask,
    _mm512_mask_sub_epi64, _mm512_srl_epi64, _mm512_sub_epi64,
};

use curve25519_dalek::Scalar;
use zeroize::{Zeroize, Zeroizing};

use super::field::words_of;
use super::lanes::{LANES, splat};

/// Digits of a scalar.
pub(super) const DIGITS: usize = 64;
/// The largest magnitude of a digit.
pub(super) const MAX_MAGNITUDE: usize = 8;

/// Digits in each word of a scalar.
const WORD_DIGITS: usize = DIGITS / 4;
const DIGIT_BITS: usize = 4;
const DIGIT: u64 = 15;
const BIAS: u64 = 8;
const BYTE_BIAS: u8 = 0x88;

/// The scalars of eight lanes, recoded.
///
/// # Invariant
/// The words of k + 8 Σ 16ⁱ, whose hexadecimal digits are dᵢ + 8. Scalars are below 2^253, so
/// that the sum is below 2^256.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Digits8([__m512i; 4]);

/// One digit of each lane.
pub(super) struct Digit8 {
    /// dᵢ + 8, below 16.
    biased: __m512i,
}

impl Digits8 {
    /// The digits of each scalar.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn of(scalars: &[Scalar; LANES]) -> Self {
        let mut strings = Zeroizing::new([[0; 32]; LANES]);
        for (string, scalar) in strings.iter_mut().zip(scalars) {
            biased(scalar.as_bytes(), BYTE_BIAS, string);
        }
        Self(words_of(&strings))
    }

    /// The digits of half of each scalar, modulo ℓ: what is encoded is twice the product.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn of_halves(scalars: &[Scalar; LANES]) -> Self {
        let mut halves = Zeroizing::new([Scalar::ZERO; LANES]);
        for (half, scalar) in halves.iter_mut().zip(scalars) {
            *half = scalar.div_by_2();
        }
        Self::of(&halves)
    }

    /// The digits of half of one scalar, modulo ℓ, in every lane.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn of_half(scalar: &Scalar) -> Self {
        let half = Zeroizing::new(scalar.div_by_2());
        let mut string = Zeroizing::new([0; 32]);
        biased(half.as_bytes(), BYTE_BIAS, &mut string);
        Self(words_of(&Zeroizing::new([*string; LANES])))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn at(&self, position: usize) -> Digit8 {
        let word = self.0[position / WORD_DIGITS];
        let shifted = _mm512_srl_epi64(word, shift(position % WORD_DIGITS));
        Digit8 { biased: _mm512_and_si512(shifted, splat(DIGIT)) }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn shift(digits: usize) -> __m128i {
    // At most 60, since a word has 16 digits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    _mm_cvtsi32_si128((digits * DIGIT_BITS) as i32)
}

/// Add `bias` to each byte of a scalar, with carries: the lowest 32 bytes of the sum.
pub(super) fn biased(scalar: &[u8; 32], bias: u8, sum: &mut [u8; 32]) {
    let mut carry = 0;
    for (place, &byte) in sum.iter_mut().zip(scalar) {
        let wide = u16::from(byte) + u16::from(bias) + carry;
        [*place, _] = wide.to_le_bytes();
        carry = wide >> 8;
    }
}

impl Digit8 {
    /// The lanes whose digit is negative.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn is_negative(&self) -> __mmask8 {
        _mm512_cmplt_epu64_mask(self.biased, splat(BIAS))
    }

    /// The magnitudes, 0 to 8.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn magnitude(&self) -> __m512i {
        let bias = splat(BIAS);
        let digit = _mm512_sub_epi64(self.biased, bias);
        _mm512_mask_sub_epi64(digit, self.is_negative(), bias, self.biased)
    }
}
