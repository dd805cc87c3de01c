//! The backend of AVX-512 IFMA: eight elements at a time, a lane each.
//!
//! The only folder of this crate with `unsafe`: what calls functions that are compiled for these
//! instructions must know that the machine has them, which a value of [`Ifma`] shows.

#![allow(unsafe_code)]
// Field elements are five registers, which functions that are inlined take and give.
#![allow(clippy::large_types_passed_by_value)]

mod constants;
mod decode;
mod digits;
mod encode;
mod field;
mod fixed_base;
mod lanes;
mod map;
mod point;
mod scalar_mul;
mod sha512;
#[cfg(test)]
mod tests;
mod weighted_sum;

use curve25519_dalek::Scalar;
use zeroize::Zeroizing;

use self::digits::Digits8;
use self::encode::encode_doubles;
pub(super) use self::fixed_base::FixedBase;
pub(crate) use self::lanes::Ifma;
use self::lanes::LANES;
use self::point::Extended8;
use self::scalar_mul::Workspace;
use self::weighted_sum::Pippenger;
use super::{Element, Encoding, IDENTITY};
use crate::sha512::{Block, Digest, State};

/// Groups of eight whose square roots are computed side by side.
const ROOT_GROUPS: usize = 2;

/// From so many rows on, the larger number of buckets pays.
const MANY_ROWS: usize = 640;

/// A run of elements.
///
/// # Invariant
/// As many groups as `rows` need; what the last group has beyond them are elements that nobody reads.
pub(super) struct Batch {
    ifma: Ifma,
    groups: Zeroizing<Vec<Extended8>>,
    rows: usize,
}

impl Batch {
    pub(super) fn one_way_map(ifma: Ifma, uniform: &[[u8; 64]]) -> Self {
        // SAFETY: `ifma` shows that the machine has the instructions.
        let groups = unsafe { map_groups(uniform) };
        Self { ifma, groups, rows: uniform.len() }
    }

    pub(super) fn decode(ifma: Ifma, encodings: &[Encoding]) -> Result<Self, usize> {
        // SAFETY: `ifma` shows that the machine has the instructions.
        let groups = unsafe { decode_groups(encodings) }?;
        Ok(Self { ifma, groups, rows: encodings.len() })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn first_identity(&self) -> Option<usize> {
        // SAFETY: `ifma` shows that the machine has the instructions.
        unsafe { first_identity(&self.groups, self.rows) }
    }

    /// Make one row the identity.
    #[cfg(test)]
    fn clear_row(&mut self, row: usize) {
        // SAFETY: `ifma` shows that the machine has the instructions.
        unsafe { self.groups[row / LANES].clear_lane(row % LANES) }
    }

    pub(super) fn multiply(&self, scalar: &Scalar, out: &mut [Encoding]) {
        // SAFETY: `ifma` shows that the machine has the instructions.
        unsafe { multiply_groups(&self.groups, scalar, out) }
    }

    pub(super) fn multiply_each(&self, scalars: &[Scalar], out: &mut [Encoding]) {
        // SAFETY: `ifma` shows that the machine has the instructions.
        unsafe { multiply_groups_each(&self.groups, scalars, out) }
    }

    pub(super) fn ifma(&self) -> Ifma {
        self.ifma
    }

    pub(super) fn add_multiples(&self, base: &FixedBase, scalars: &[Scalar], out: &mut [Encoding]) {
        // SAFETY: `ifma` shows that the machine has the instructions.
        unsafe { add_multiples(&self.groups, base, scalars, out) }
    }
}

/// The multiples of an element.
pub(super) fn fixed_base(_: Ifma, element: &Element) -> FixedBase {
    // SAFETY: an `Ifma` shows that the machine has the instructions.
    unsafe { multiples(element) }
}

/// Hash padded messages with SHA-512, from `state` on; `ends` are the ends of the messages in
/// `blocks`, and `digests` has a place for each.
pub(crate) fn sha512(
    _: Ifma,
    state: &State,
    blocks: &[Block],
    ends: &[usize],
    digests: &mut [Digest],
) {
    // SAFETY: an `Ifma` shows that the machine has the instructions.
    unsafe { sha512::digest_each(state, blocks, ends, digests) }
}

/// The sum of each element times its weight, in variable time.
pub(super) fn vartime_weighted_sum(terms: &[(&Batch, &[Scalar])]) -> Element {
    let Some(&(&Batch { ifma, .. }, _)) = terms.first() else {
        return Element::identity();
    };
    let rows: usize = terms.iter().map(|(batch, _)| batch.rows).sum();
    // SAFETY: `ifma` shows that the machine has the instructions.
    let sum =
        unsafe { if rows < MANY_ROWS { vartime_sum::<4>(terms) } else { vartime_sum::<8>(terms) } };
    let batch = Batch { ifma, groups: Zeroizing::new(vec![sum]), rows: 1 };
    let mut encoding = [IDENTITY];
    batch.multiply(&Scalar::ONE, &mut encoding);
    // What this backend encodes is canonical, and only the identity is not decoded.
    Element::decode(&encoding[0]).unwrap_or_else(Element::identity)
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn vartime_sum<const BITS: usize>(terms: &[(&Batch, &[Scalar])]) -> Extended8 {
    let groups = terms.iter().map(|(batch, _)| batch.groups.len()).sum();
    let mut pippenger = Pippenger::<BITS>::with_capacity(groups);
    for (batch, weights) in terms {
        for (points, weights) in batch.groups.iter().zip(weights.chunks(LANES)) {
            pippenger.push(points, weights);
        }
    }
    pippenger.vartime_sum()
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn map_groups(uniform: &[[u8; 64]]) -> Zeroizing<Vec<Extended8>> {
    let mut groups = Zeroizing::new(Vec::with_capacity(uniform.len().div_ceil(LANES)));
    let mut halves = Zeroizing::new([[[0; 32]; LANES]; 2]);
    for strings in uniform.chunks(LANES) {
        for (lane, string) in strings.iter().enumerate() {
            halves[0][lane].copy_from_slice(&string[..32]);
            halves[1][lane].copy_from_slice(&string[32..]);
        }
        groups.push(map::one_way_map(&halves));
    }
    groups
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn decode_groups(encodings: &[Encoding]) -> Result<Zeroizing<Vec<Extended8>>, usize> {
    let mut groups = Zeroizing::new(Vec::with_capacity(encodings.len().div_ceil(LANES)));
    for (step, strings) in encodings.chunks(ROOT_GROUPS * LANES).enumerate() {
        let mut padded = [[IDENTITY; LANES]; ROOT_GROUPS];
        for (place, string) in padded.as_flattened_mut().iter_mut().zip(strings) {
            *place = *string;
        }
        for (group, (valid, points)) in decode::decode(&padded).into_iter().enumerate() {
            let first = group * LANES;
            let rows = strings.len().saturating_sub(first).min(LANES);
            let refused = !(valid & !points.is_identity());
            let bad = refused.trailing_zeros() as usize;
            if bad < rows {
                return Err(step * ROOT_GROUPS * LANES + first + bad);
            }
            if rows > 0 {
                groups.push(points);
            }
        }
    }
    Ok(groups)
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn first_identity(groups: &[Extended8], rows: usize) -> Option<usize> {
    let mut first = None;
    for (group, points) in groups.iter().enumerate().rev() {
        let lane = points.is_identity().trailing_zeros() as usize;
        if lane < LANES && group * LANES + lane < rows {
            first = Some(group * LANES + lane);
        }
    }
    first
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn multiply_groups(groups: &[Extended8], scalar: &Scalar, out: &mut [Encoding]) {
    let digits = Zeroizing::new(Digits8::of_half(scalar));
    let mut workspace = Workspace::new();
    let mut products = Zeroizing::new(Vec::with_capacity(groups.len()));
    for points in groups {
        products.push(scalar_mul::multiply(&mut workspace, points, &digits));
    }
    encode_doubles(&products, out);
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn multiply_groups_each(groups: &[Extended8], scalars: &[Scalar], out: &mut [Encoding]) {
    let mut workspace = Workspace::new();
    let mut products = Zeroizing::new(Vec::with_capacity(groups.len()));
    let mut lanes = Zeroizing::new([Scalar::ZERO; LANES]);
    for (points, scalars) in groups.iter().zip(scalars.chunks(LANES)) {
        lanes[..scalars.len()].copy_from_slice(scalars);
        let digits = Zeroizing::new(Digits8::of_halves(&lanes));
        products.push(scalar_mul::multiply(&mut workspace, points, &digits));
    }
    encode_doubles(&products, out);
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn multiples(element: &Element) -> FixedBase {
    // What this crate encodes decodes.
    let [(_, point)] = decode::decode(&[[element.encode(); LANES]]);
    FixedBase::new(&point)
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn add_multiples(groups: &[Extended8], base: &FixedBase, scalars: &[Scalar], out: &mut [Encoding]) {
    let mut sums = Zeroizing::new([Extended8::identity(); ROOT_GROUPS]);
    let mut lanes = Zeroizing::new([Scalar::ZERO; LANES]);
    let steps = groups.chunks(ROOT_GROUPS).zip(scalars.chunks(ROOT_GROUPS * LANES));
    for ((groups, scalars), places) in steps.zip(out.chunks_mut(ROOT_GROUPS * LANES)) {
        for ((sum, points), scalars) in sums.iter_mut().zip(groups).zip(scalars.chunks(LANES)) {
            lanes[..scalars.len()].copy_from_slice(scalars);
            let digits = Zeroizing::new(Digits8::of(&lanes));
            *sum = base.add(*points, &digits);
        }
        encode::encode(&sums, places);
    }
}
