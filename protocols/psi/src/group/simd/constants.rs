//! The constants of RFC 9496 section 4.1, as limbs of 51 bits, lowest first.

use super::field::Constant;

/// The curve's d, −121665/121666.
pub(super) const D: Constant = [
    0x0003_4dca_1359_78a3,
    0x0001_a828_3b15_6ebd,
    0x0005_e7a2_6001_c029,
    0x0007_39c6_63a0_3cbb,
    0x0005_2036_cee2_b6ff,
];

/// 2d.
pub(super) const D2: Constant = [
    0x0006_9b94_26b2_f159,
    0x0003_5050_762a_dd7a,
    0x0003_cf44_c003_8052,
    0x0006_738c_c740_7977,
    0x0002_406d_9dc5_6dff,
];

/// A square root of −1.
pub(super) const SQRT_M1: Constant = [
    0x0006_1b27_4a0e_a0b0,
    0x0000_d5a5_fc8f_189d,
    0x0007_ef5e_9cbd_0c60,
    0x0007_8595_a680_4c9e,
    0x0002_b832_4804_fc1d,
];

/// A square root of ad − 1, a = −1.
pub(super) const SQRT_AD_MINUS_ONE: Constant = [
    0x0007_f6a0_497b_2e1b,
    0x0001_836f_0a97_afd2,
    0x0007_d747_f6be_7638,
    0x0004_5607_9e7e_6498,
    0x0003_7693_1bf2_b834,
];

/// A square root of 1/(a − d).
pub(super) const INVSQRT_A_MINUS_D: Constant = [
    0x0000_fdaa_805d_40ea,
    0x0002_eb48_2e57_d339,
    0x0000_0761_0274_bc58,
    0x0006_510b_613d_c8ff,
    0x0007_86c8_905c_faff,
];

/// 1 − d².
pub(super) const ONE_MINUS_D_SQ: Constant = [
    0x0004_09c1_945f_c176,
    0x0007_19ab_c6a1_fc4f,
    0x0001_c37f_90b2_0684,
    0x0000_6bcc_ca55_eedf,
    0x0000_2907_2a8b_2b3e,
];

/// (d − 1)².
pub(super) const D_MINUS_ONE_SQ: Constant = [
    0x0005_5aaa_44ed_4d20,
    0x0005_9603_c333_2635,
    0x0002_6d3b_af4a_7928,
    0x0001_20a6_6e69_97a9,
    0x0005_968b_37af_66c2,
];
