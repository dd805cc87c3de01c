//! Whole operations against `curve25519-dalek`.

use curve25519_dalek::Scalar;
use curve25519_dalek::traits::Identity;

use super::{noise, on_ifma};
use crate::group::simd::constants::SQRT_M1;
use crate::group::simd::field::{FieldElement8, MINUS_ONE, ONE, ZERO};
use crate::group::simd::lanes::{Ifma, LANES};
use crate::group::simd::point::Extended8;
use crate::group::simd::{self, encode};
use crate::group::{Element, Encoding, IDENTITY, dalek};

/// Around the registers' and the chunks' sizes.
const SIZES: [usize; 24] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 31, 33, 127, 128, 129, 257];

pub(super) fn uniform(stream: &str, rows: usize) -> Vec<[u8; 64]> {
    (0..rows as u64).map(|row| noise(stream, row)).collect()
}

pub(super) fn scalars(stream: &str, rows: usize) -> Vec<Scalar> {
    uniform(stream, rows).iter().map(Scalar::from_bytes_mod_order_wide).collect()
}

/// Scalars at the edges of their range, of its half, and of digits.
fn edges() -> Vec<Scalar> {
    let half = Scalar::ONE.div_by_2();
    let mut edges = vec![
        Scalar::ZERO,
        Scalar::ONE,
        -Scalar::ONE,
        half,
        half - Scalar::ONE,
        half + Scalar::ONE,
        half.div_by_2(),
        -half.div_by_2(),
    ];
    for small in [2_u64, 7, 8, 9, 15, 16, 17, 127, 128, 129, 1 << 60, u64::MAX] {
        edges.extend([Scalar::from(small), -Scalar::from(small), Scalar::from(small) * half]);
    }
    for byte in [0x88, 0x77, 0x78, 0x87, 0x80, 0x7f, 0x0f, 0xf0, 0x08, 0xff] {
        let scalar = Scalar::from_bytes_mod_order([byte; 32]);
        let mut small = [byte; 32];
        small[31] = 0x0f;
        edges.extend([scalar, scalar + scalar, Scalar::from_bytes_mod_order(small)]);
    }
    edges.push((0..252).fold(Scalar::ONE, |power, _| power + power));
    edges
}

/// Multiply with both backends and compare.
fn check_products(ours: &simd::Batch, theirs: &dalek::Batch, scalars: &[Scalar]) {
    let (mut found, mut expected) = (vec![IDENTITY; scalars.len()], vec![[1; 32]; scalars.len()]);
    ours.multiply_each(scalars, &mut found);
    theirs.multiply_each(scalars, &mut expected);
    assert_eq!(found, expected);
    if let Some(scalar) = scalars.last() {
        ours.multiply(scalar, &mut found);
        theirs.multiply(scalar, &mut expected);
        assert_eq!(found, expected);
    }
}

/// Add multiples of the generator, and of another element, with both backends, and compare.
fn check_sums(ours: &simd::Batch, theirs: &dalek::Batch, scalars: &[Scalar]) {
    let other = Element::generator_times(&Scalar::from_bytes_mod_order_wide(&noise("base", 0)));
    for element in [Element::generator(), other] {
        let (mut found, mut expected) =
            (vec![[2; 32]; scalars.len()], vec![[1; 32]; scalars.len()]);
        ours.add_multiples(&simd::fixed_base(ours.ifma(), &element), scalars, &mut found);
        theirs.add_multiples(&dalek::FixedBase::new(&element), scalars, &mut expected);
        assert_eq!(found, expected);
    }
}

/// Map, multiply, decode and multiply again with both backends, and compare.
pub(super) fn check_rows(ifma: Ifma, uniform: &[[u8; 64]], scalars: &[Scalar]) {
    let ours = simd::Batch::one_way_map(ifma, uniform);
    let theirs = dalek::Batch::one_way_map(uniform);
    assert_eq!((ours.rows(), ours.first_identity()), (uniform.len(), None));
    check_products(&ours, &theirs, scalars);
    // Points of any Z here, of Z = 1 when they are decoded.
    check_sums(&ours, &theirs, scalars);
    let mut encodings = vec![IDENTITY; uniform.len()];
    ours.multiply(&Scalar::ONE, &mut encodings);
    let ours = simd::Batch::decode(ifma, &encodings).unwrap();
    let theirs = dalek::Batch::decode(&encodings).unwrap();
    assert_eq!((ours.rows(), ours.first_identity()), (uniform.len(), None));
    check_products(&ours, &theirs, scalars);
    check_sums(&ours, &theirs, scalars);
    let sum = simd::vartime_weighted_sum(&[(&ours, scalars)]);
    assert_eq!(sum.encode(), dalek::vartime_weighted_sum(&[(&theirs, scalars)]).encode());
}

#[test]
fn every_number_of_rows_agrees() {
    let Some(ifma) = Ifma::detect() else { return };
    for rows in SIZES {
        check_rows(ifma, &uniform("rows", rows), &scalars("scalars", rows));
    }
}

#[test]
fn scalars_at_the_edges_agree() {
    let Some(ifma) = Ifma::detect() else { return };
    let edges = edges();
    check_rows(ifma, &uniform("edges", edges.len()), &edges);
    let ours = simd::Batch::one_way_map(ifma, &uniform("edges", 3));
    let theirs = dalek::Batch::one_way_map(&uniform("edges", 3));
    for scalar in edges {
        check_products(&ours, &theirs, &[scalar; 3]);
    }
}

#[test]
fn uniform_strings_at_the_edges_agree() {
    let Some(ifma) = Ifma::detect() else { return };
    // Halves that are 0, ±1, at p and above, and with the highest bit set.
    let halves: Vec<[u8; 32]> = [0_u8, 1, 2, 0xec, 0xed, 0xee, 0xff]
        .into_iter()
        .flat_map(|low| [0_u8, 0x7f, 0x80, 0xff].map(|high| (low, high)))
        .flat_map(|(low, high)| {
            [0_u8, 0xff].map(|middle| {
                let mut half = [middle; 32];
                (half[0], half[31]) = (low, high);
                half
            })
        })
        .collect();
    let mut strings = Vec::new();
    for (i, first) in halves.iter().enumerate() {
        for second in [&halves[i], &halves[(i * 5 + 3) % halves.len()], &[0; 32]] {
            let mut string = [0; 64];
            string[..32].copy_from_slice(first);
            string[32..].copy_from_slice(second);
            strings.push(string);
        }
    }
    let ours = simd::Batch::one_way_map(ifma, &strings);
    let theirs = dalek::Batch::one_way_map(&strings);
    assert_eq!(ours.first_identity(), theirs.first_identity());
    check_products(&ours, &theirs, &scalars("strings", strings.len()));
}

/// Strings of which many decode and many do not, each for one of all reasons.
fn strings() -> Vec<Encoding> {
    let mut strings: Vec<Encoding> = (0..600)
        .map(|index| {
            let mut string: Encoding = noise("decode", index)[..32].try_into().unwrap();
            if index % 4 != 0 {
                string[0] &= 0xfe;
                string[31] &= 0x7f;
            }
            string
        })
        .collect();
    for low in 0..=255 {
        let mut string = [0; 32];
        string[0] = low;
        strings.push(string);
        for high in [0x7f, 0xff] {
            let mut string = [0xff; 32];
            (string[0], string[31]) = (low, high);
            strings.push(string);
        }
    }
    strings
}

#[test]
fn each_lane_is_decoded_as_if_alone() {
    let Some(ifma) = Ifma::detect() else { return };
    let strings = strings();
    let good = strings.iter().filter(|string| dalek::Batch::decode(&[**string]).is_ok());
    let good: Vec<Encoding> = good.copied().collect();
    assert!(good.len() > 100);
    let all = simd::Batch::decode(ifma, &good).unwrap();
    let expected = dalek::Batch::decode(&good).unwrap();
    check_products(&all, &expected, &scalars("decode", good.len()));
    for (index, string) in strings.into_iter().enumerate() {
        let ours = simd::Batch::decode(ifma, &[string]).err();
        assert_eq!(ours, dalek::Batch::decode(&[string]).err());
        // Good neighbours change nothing, nor does another bad one behind.
        let mut frame = good[..37].to_vec();
        let row = index % frame.len();
        frame[row] = string;
        frame[36] = IDENTITY;
        let expected = ours.map_or(36, |_| row);
        assert_eq!(simd::Batch::decode(ifma, &frame).err(), Some(expected));
    }
}

#[test]
fn the_identity_harms_no_neighbour() {
    let Some(ifma) = Ifma::detect() else { return };
    for rows in [1, 7, 8, 9, 40] {
        let uniform = uniform("identity", rows);
        let ours = simd::Batch::one_way_map(ifma, &uniform);
        let theirs = dalek::Batch::one_way_map(&uniform);
        let mut scalars = scalars("identity", rows);
        for row in 0..rows {
            let kept = std::mem::replace(&mut scalars[row], Scalar::ZERO);
            check_products(&ours, &theirs, &scalars);
            scalars[row] = kept;
        }
        check_products(&ours, &theirs, &vec![Scalar::ZERO; rows]);
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn check_representatives() {
    let [zero, one, minus_one, i] =
        [ZERO, ONE, MINUS_ONE, SQRT_M1].map(|limbs| FieldElement8::constant(&limbs));
    let point = |x, y| Extended8 { x, y, z: one, t: x.times(y) };
    // The points of order 1, 2 and 4, all of which represent the identity.
    let torsion =
        [point(zero, one), point(zero, minus_one), point(i, zero), point(i.negate(), zero)];
    let halves = core::array::from_fn(|k| {
        core::array::from_fn(|lane| {
            noise("torsion", (k * LANES + lane) as u64)[..32].try_into().unwrap()
        })
    });
    let element = simd::map::one_way_map(&halves);
    let mut expected = [IDENTITY; LANES];
    encode::encode_doubles(&[element], &mut expected);
    let mut alone = [IDENTITY; LANES];
    encode::encode(&[element], &mut alone);
    for torsion in torsion {
        assert_eq!(torsion.is_identity(), 0xff);
        let mut found = [[1; 32]; LANES];
        encode::encode_doubles(&[torsion], &mut found);
        assert_eq!(found, [IDENTITY; LANES]);
        let moved = element.plus(&torsion.cached()).extended();
        assert_eq!(moved.is_identity(), 0);
        let mut both = [[1; 32]; 2 * LANES];
        encode::encode(&[torsion, moved], &mut both);
        assert_eq!(both.split_at(LANES), (&[IDENTITY; LANES][..], &alone[..]));
        let mut all = [[1; 32]; 3 * LANES];
        encode::encode_doubles(&[torsion, moved, torsion], &mut all);
        assert_eq!(all[LANES..2 * LANES], expected);
        // Adding is complete: the sum of opposites, and of equals.
        let opposite = element.cached().negate_where(0xff);
        assert_eq!(element.plus(&opposite).extended().is_identity(), 0xff);
        let (mut sum, mut double) = ([IDENTITY; LANES], [IDENTITY; LANES]);
        encode::encode_doubles(&[moved.plus(&moved.cached()).extended()], &mut sum);
        encode::encode_doubles(&[element.projective().double().extended()], &mut double);
        assert_eq!(sum, double);
        let mut twice = [IDENTITY; LANES];
        encode::encode(&[moved.projective().double().extended()], &mut twice);
        assert_eq!(twice, expected);
    }
}

#[test]
fn sums_with_multiples_that_vanish_are_the_identity() {
    let Some(ifma) = Ifma::detect() else { return };
    let scalars = edges();
    let elements: Vec<Encoding> =
        scalars[1..].iter().map(|scalar| Element::generator_times(scalar).encode()).collect();
    let batch = simd::Batch::decode(ifma, &elements).unwrap();
    let base = simd::fixed_base(ifma, &Element::generator());
    let mut opposites: Vec<Scalar> = scalars[1..].iter().map(|scalar| -scalar).collect();
    let mut sums = vec![[1; 32]; elements.len()];
    batch.add_multiples(&base, &opposites, &mut sums);
    assert_eq!(sums, vec![IDENTITY; elements.len()]);
    // Nor does one that vanishes change its neighbours.
    for (row, opposite) in opposites.iter_mut().enumerate() {
        if row % 5 != 0 {
            *opposite += Scalar::ONE;
        }
    }
    batch.add_multiples(&base, &opposites, &mut sums);
    let generator = Element::generator().encode();
    for (row, sum) in sums.into_iter().enumerate() {
        assert_eq!(sum, if row % 5 == 0 { IDENTITY } else { generator });
    }
}

#[test]
fn every_representative_of_an_element_is_encoded_alike() {
    on_ifma(check_representatives);
}

#[test]
fn the_first_identity_is_found() {
    let Some(ifma) = Ifma::detect() else { return };
    // Uniform strings of two halves that map to opposite points are not known; so the batch is made.
    let uniform = uniform("first", 19);
    for row in 0..19 {
        let mut batch = simd::Batch::one_way_map(ifma, &uniform);
        batch.clear_row(row);
        assert_eq!(batch.first_identity(), Some(row));
        batch.clear_row(row / 2);
        assert_eq!(batch.first_identity(), Some(row / 2));
    }
}

#[test]
fn weighted_sums_agree() {
    let Some(ifma) = Ifma::detect() else { return };
    let edges = edges();
    let sizes = [1, 2, 8, 9, edges.len(), 1_000, 1_023, 1_024, 1_500];
    for rows in sizes {
        let uniform = uniform("sum", rows);
        let mut weights = scalars("weights", rows);
        for (weight, edge) in weights.iter_mut().zip(&edges).skip(rows / 2) {
            *weight = *edge;
        }
        // Batches of odd sizes, the last of which is not full.
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for rows in uniform.chunks(100) {
            ours.push(simd::Batch::one_way_map(ifma, rows));
            theirs.push(dalek::Batch::one_way_map(rows));
        }
        let our_terms: Vec<_> = ours.iter().zip(weights.chunks(100)).collect();
        let their_terms: Vec<_> = theirs.iter().zip(weights.chunks(100)).collect();
        let sum = simd::vartime_weighted_sum(&our_terms).encode();
        assert_eq!(sum, dalek::vartime_weighted_sum(&their_terms).encode());
    }
}

#[test]
fn sums_that_vanish_are_the_identity() {
    let Some(ifma) = Ifma::detect() else { return };
    let mut uniform = uniform("vanish", 2);
    uniform[1] = uniform[0];
    let batch = simd::Batch::one_way_map(ifma, &uniform);
    let weights = [Scalar::from(5_u8), -Scalar::from(5_u8)];
    assert_eq!(simd::vartime_weighted_sum(&[(&batch, &weights)]).encode(), IDENTITY);
    assert_eq!(simd::vartime_weighted_sum(&[]).encode(), IDENTITY);
    assert_eq!(curve25519_dalek::RistrettoPoint::identity().compress().to_bytes(), IDENTITY);
}
