//! Eight 64-bit numbers in one register, and the proof that this machine can compute on them.

use core::arch::x86_64::{
    __m512i, _mm_set_epi64x, _mm512_broadcast_i32x4, _mm512_set1_epi64, _mm512_shuffle_epi8,
    _mm512_shuffle_i64x2, _mm512_unpackhi_epi64, _mm512_unpacklo_epi64,
};

/// The number of lanes of a register.
pub(crate) const LANES: usize = 8;

/// Evidence that this machine has the instructions of this backend.
///
/// # Invariant
/// Only [`Ifma::detect`] makes one, and only where AVX-512 F, BW, DQ and IFMA are there. Functions that
/// are compiled for these may be called wherever a value of this type is at hand.
#[derive(Clone, Copy)]
pub(crate) struct Ifma(());

impl Ifma {
    /// Look for the instructions; the standard library asks the processor only once.
    pub(crate) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512ifma");
        found.then_some(Self(()))
    }
}

/// The register of these eight numbers.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(lanes: &[u64; LANES]) -> __m512i {
    // SAFETY: both types have 64 bytes and every bit pattern is a value of both.
    unsafe { core::mem::transmute_copy(lanes) }
}

/// The register of the eight big-endian numbers that these bytes are.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn load_big_endian(bytes: &[u8; 8 * LANES]) -> __m512i {
    // SAFETY: both types have 64 bytes and every bit pattern is a value of both.
    let register: __m512i = unsafe { core::mem::transmute_copy(bytes) };
    let swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0809_0a0b_0c0d_0e0f, 0x0001_0203_0405_0607));
    _mm512_shuffle_epi8(register, swap)
}

/// The eight numbers of this register.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(register: __m512i) -> [u64; LANES] {
    // SAFETY: both types have 64 bytes and every bit pattern is a value of both.
    unsafe { core::mem::transmute(register) }
}

/// The register with `number` in each lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn splat(number: u64) -> __m512i {
    _mm512_set1_epi64(number.cast_signed())
}

/// Lane j of register i becomes lane i of register j.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transpose(registers: &[__m512i; LANES]) -> [__m512i; LANES] {
    // Named after what they hold of rows 0 and up: first lanes of the same parity of two rows, then
    // of four rows.
    let [r0, r1, r2, r3, r4, r5, r6, r7] = *registers;
    let even01 = _mm512_unpacklo_epi64(r0, r1);
    let odd01 = _mm512_unpackhi_epi64(r0, r1);
    let even23 = _mm512_unpacklo_epi64(r2, r3);
    let odd23 = _mm512_unpackhi_epi64(r2, r3);
    let even45 = _mm512_unpacklo_epi64(r4, r5);
    let odd45 = _mm512_unpackhi_epi64(r4, r5);
    let even67 = _mm512_unpacklo_epi64(r6, r7);
    let odd67 = _mm512_unpackhi_epi64(r6, r7);
    // Of pairs of lanes 0, 1, 2, 3, the first two operands give 0 and 2, or 1 and 3.
    let lanes04 = _mm512_shuffle_i64x2::<0x88>(even01, even23);
    let lanes26 = _mm512_shuffle_i64x2::<0xdd>(even01, even23);
    let lanes15 = _mm512_shuffle_i64x2::<0x88>(odd01, odd23);
    let lanes37 = _mm512_shuffle_i64x2::<0xdd>(odd01, odd23);
    let lanes04_up = _mm512_shuffle_i64x2::<0x88>(even45, even67);
    let lanes26_up = _mm512_shuffle_i64x2::<0xdd>(even45, even67);
    let lanes15_up = _mm512_shuffle_i64x2::<0x88>(odd45, odd67);
    let lanes37_up = _mm512_shuffle_i64x2::<0xdd>(odd45, odd67);
    [
        _mm512_shuffle_i64x2::<0x88>(lanes04, lanes04_up),
        _mm512_shuffle_i64x2::<0x88>(lanes15, lanes15_up),
        _mm512_shuffle_i64x2::<0x88>(lanes26, lanes26_up),
        _mm512_shuffle_i64x2::<0x88>(lanes37, lanes37_up),
        _mm512_shuffle_i64x2::<0xdd>(lanes04, lanes04_up),
        _mm512_shuffle_i64x2::<0xdd>(lanes15, lanes15_up),
        _mm512_shuffle_i64x2::<0xdd>(lanes26, lanes26_up),
        _mm512_shuffle_i64x2::<0xdd>(lanes37, lanes37_up),
    ]
}
