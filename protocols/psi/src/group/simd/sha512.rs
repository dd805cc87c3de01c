//! SHA-512 (FIPS 180-4 section 6.4) of eight messages at a time, a lane each.

use core::arch::x86_64::{
    __m512i, __mmask8, _mm512_add_epi64, _mm512_mask_add_epi64, _mm512_ror_epi64,
    _mm512_srli_epi64, _mm512_ternarylogic_epi64,
};

use zeroize::Zeroizing;

use super::lanes::{LANES, load_big_endian, splat, store, transpose};
use crate::sha512::{BLOCK_BYTES, Block, Digest, State};

const ROUNDS: usize = 80;
const BLOCK_WORDS: usize = 16;
const STATE_WORDS: usize = 8;

/// `K` of FIPS 180-4 section 4.2.3.
#[rustfmt::skip]
const K: [u64; ROUNDS] = [
    0x428a_2f98_d728_ae22, 0x7137_4491_23ef_65cd, 0xb5c0_fbcf_ec4d_3b2f, 0xe9b5_dba5_8189_dbbc,
    0x3956_c25b_f348_b538, 0x59f1_11f1_b605_d019, 0x923f_82a4_af19_4f9b, 0xab1c_5ed5_da6d_8118,
    0xd807_aa98_a303_0242, 0x1283_5b01_4570_6fbe, 0x2431_85be_4ee4_b28c, 0x550c_7dc3_d5ff_b4e2,
    0x72be_5d74_f27b_896f, 0x80de_b1fe_3b16_96b1, 0x9bdc_06a7_25c7_1235, 0xc19b_f174_cf69_2694,
    0xe49b_69c1_9ef1_4ad2, 0xefbe_4786_384f_25e3, 0x0fc1_9dc6_8b8c_d5b5, 0x240c_a1cc_77ac_9c65,
    0x2de9_2c6f_592b_0275, 0x4a74_84aa_6ea6_e483, 0x5cb0_a9dc_bd41_fbd4, 0x76f9_88da_8311_53b5,
    0x983e_5152_ee66_dfab, 0xa831_c66d_2db4_3210, 0xb003_27c8_98fb_213f, 0xbf59_7fc7_beef_0ee4,
    0xc6e0_0bf3_3da8_8fc2, 0xd5a7_9147_930a_a725, 0x06ca_6351_e003_826f, 0x1429_2967_0a0e_6e70,
    0x27b7_0a85_46d2_2ffc, 0x2e1b_2138_5c26_c926, 0x4d2c_6dfc_5ac4_2aed, 0x5338_0d13_9d95_b3df,
    0x650a_7354_8baf_63de, 0x766a_0abb_3c77_b2a8, 0x81c2_c92e_47ed_aee6, 0x9272_2c85_1482_353b,
    0xa2bf_e8a1_4cf1_0364, 0xa81a_664b_bc42_3001, 0xc24b_8b70_d0f8_9791, 0xc76c_51a3_0654_be30,
    0xd192_e819_d6ef_5218, 0xd699_0624_5565_a910, 0xf40e_3585_5771_202a, 0x106a_a070_32bb_d1b8,
    0x19a4_c116_b8d2_d0c8, 0x1e37_6c08_5141_ab53, 0x2748_774c_df8e_eb99, 0x34b0_bcb5_e19b_48a8,
    0x391c_0cb3_c5c9_5a63, 0x4ed8_aa4a_e341_8acb, 0x5b9c_ca4f_7763_e373, 0x682e_6ff3_d6b2_b8a3,
    0x748f_82ee_5def_b2fc, 0x78a5_636f_4317_2f60, 0x84c8_7814_a1f0_ab72, 0x8cc7_0208_1a64_39ec,
    0x90be_fffa_2363_1e28, 0xa450_6ceb_de82_bde9, 0xbef9_a3f7_b2c6_7915, 0xc671_78f2_e372_532b,
    0xca27_3ece_ea26_619c, 0xd186_b8c7_21c0_c207, 0xeada_7dd6_cde0_eb1e, 0xf57d_4f7f_ee6e_d178,
    0x06f0_67aa_7217_6fba, 0x0a63_7dc5_a2c8_98a6, 0x113f_9804_bef9_0dae, 0x1b71_0b35_131c_471b,
    0x28db_77f5_2304_7d84, 0x32ca_ab7b_40c7_2493, 0x3c9e_be0a_15c9_bebc, 0x431d_67c4_9c10_0d4c,
    0x4cc5_d4be_cb3e_42b6, 0x597f_299c_fc65_7e2a, 0x5fcb_6fab_3ad6_faec, 0x6c44_198c_4a47_5817,
];

// Bitwise functions of three words, as the truth tables of `vpternlog`.
const XOR: i32 = 0x96;
const CHOOSE: i32 = 0xca;
const MAJORITY: i32 = 0xe8;

/// Hash each padded message from `state` on; `ends` are the ends of the messages in `blocks`, and
/// `digests` has a place for each.
///
/// The order of work depends on the number of blocks of each message, and on nothing else of it.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512ifma")]
pub(super) fn digest_each(state: &State, blocks: &[Block], ends: &[usize], digests: &mut [Digest]) {
    let start = |row: usize| if row == 0 { 0 } else { ends[row - 1] };
    let count = |row: usize| ends[row] - start(row);
    // Messages of like lengths share a register, so that few lanes wait for a longer neighbour.
    let mut rows: Vec<usize> = (0..ends.len()).collect();
    rows.sort_by_key(|&row| count(row));
    for rows in rows.chunks(LANES) {
        let mut messages: [&[Block]; LANES] = [&[]; LANES];
        for (message, &row) in messages.iter_mut().zip(rows) {
            *message = &blocks[start(row)..ends[row]];
        }
        let words = digest(state, &messages);
        for (lane, &row) in rows.iter().enumerate() {
            for (place, word) in digests[row].chunks_mut(8).zip(words.iter()) {
                place.copy_from_slice(&word[lane].to_be_bytes());
            }
        }
    }
}

/// The final states of eight messages, word by word.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512ifma")]
fn digest(state: &State, messages: &[&[Block]; LANES]) -> Zeroizing<[[u64; LANES]; STATE_WORDS]> {
    let mut registers = [splat(0); STATE_WORDS];
    for (register, &word) in registers.iter_mut().zip(state) {
        *register = splat(word);
    }
    let longest = messages.iter().map(|message| message.len()).max().unwrap_or(0);
    for position in 0..longest {
        let mut unfinished = 0;
        let mut blocks = [&[0; BLOCK_BYTES]; LANES];
        for (lane, message) in messages.iter().enumerate() {
            if let Some(block) = message.get(position) {
                unfinished |= 1 << lane;
                blocks[lane] = block;
            }
        }
        compress(&mut registers, words(&blocks), unfinished);
    }
    let mut finished = Zeroizing::new([[0; LANES]; STATE_WORDS]);
    for (word, register) in finished.iter_mut().zip(registers) {
        *word = store(register);
    }
    finished
}

/// The sixteen big-endian words of eight blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512ifma")]
fn words(blocks: &[&Block; LANES]) -> [__m512i; BLOCK_WORDS] {
    let mut words = [splat(0); BLOCK_WORDS];
    for (half, place) in words.chunks_exact_mut(LANES).enumerate() {
        let mut rows = [splat(0); LANES];
        for (row, block) in rows.iter_mut().zip(blocks) {
            let (halves, _) = block.as_chunks();
            *row = load_big_endian(&halves[half]);
        }
        place.copy_from_slice(&transpose(&rows));
    }
    words
}

/// Compress a block into the state of each lane of `unfinished`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512ifma")]
fn compress(
    state: &mut [__m512i; STATE_WORDS],
    mut w: [__m512i; BLOCK_WORDS],
    unfinished: __mmask8,
) {
    let mut working = *state;
    let (constants, _) = K.as_chunks::<BLOCK_WORDS>();
    for (sixteen, constants) in constants.iter().enumerate() {
        if sixteen > 0 {
            extend(&mut w);
        }
        for (word, &constant) in w.iter().zip(constants) {
            round(&mut working, _mm512_add_epi64(*word, splat(constant)));
        }
    }
    for (register, word) in state.iter_mut().zip(working) {
        *register = _mm512_mask_add_epi64(*register, unfinished, *register, word);
    }
}

/// Replace sixteen words of the schedule by the next sixteen.
#[inline]
#[target_feature(enable = "avx512f")]
fn extend(w: &mut [__m512i; BLOCK_WORDS]) {
    // W(t) = σ1(W(t − 2)) + W(t − 7) + σ0(W(t − 15)) + W(t − 16)
    for t in 0..BLOCK_WORDS {
        let sum = _mm512_add_epi64(w[(t + 9) % BLOCK_WORDS], w[t]);
        let sigmas = _mm512_add_epi64(
            small_sigma_1(w[(t + 14) % BLOCK_WORDS]),
            small_sigma_0(w[(t + 1) % BLOCK_WORDS]),
        );
        w[t] = _mm512_add_epi64(sum, sigmas);
    }
}

/// One round, given `K(t) + W(t)`.
#[inline]
#[target_feature(enable = "avx512f")]
fn round(working: &mut [__m512i; STATE_WORDS], input: __m512i) {
    let [a, b, c, d, e, f, g, h] = *working;
    // T1 = h + Σ1(e) + Ch(e, f, g) + K(t) + W(t)
    // T2 = Σ0(a) + Maj(a, b, c)
    let choice = _mm512_ternarylogic_epi64::<CHOOSE>(e, f, g);
    let majority = _mm512_ternarylogic_epi64::<MAJORITY>(a, b, c);
    let t1 = _mm512_add_epi64(_mm512_add_epi64(h, input), _mm512_add_epi64(choice, big_sigma_1(e)));
    let t2 = _mm512_add_epi64(big_sigma_0(a), majority);
    *working = [_mm512_add_epi64(t1, t2), a, b, c, _mm512_add_epi64(d, t1), e, f, g];
}

#[inline]
#[target_feature(enable = "avx512f")]
fn big_sigma_0(x: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<XOR>(
        _mm512_ror_epi64::<28>(x),
        _mm512_ror_epi64::<34>(x),
        _mm512_ror_epi64::<39>(x),
    )
}

#[inline]
#[target_feature(enable = "avx512f")]
fn big_sigma_1(x: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<XOR>(
        _mm512_ror_epi64::<14>(x),
        _mm512_ror_epi64::<18>(x),
        _mm512_ror_epi64::<41>(x),
    )
}

#[inline]
#[target_feature(enable = "avx512f")]
fn small_sigma_0(x: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<XOR>(
        _mm512_ror_epi64::<1>(x),
        _mm512_ror_epi64::<8>(x),
        _mm512_srli_epi64::<7>(x),
    )
}

#[inline]
#[target_feature(enable = "avx512f")]
fn small_sigma_1(x: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<XOR>(
        _mm512_ror_epi64::<19>(x),
        _mm512_ror_epi64::<61>(x),
        _mm512_srli_epi64::<6>(x),
    )
}
