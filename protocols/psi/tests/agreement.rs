//! Both ways to an output agree, on odd sizes and around the edges of chunks.

use std::collections::HashSet;

use psishare_psi::seed::Seed;
use psishare_psi::sorted::{self, FixedRows};
use psishare_psi::{Blinds, membership, merkle, voprf};
use sha2::{Digest, Sha256, Sha512};

const SIZES: [usize; 9] = [0, 1, 2, 127, 128, 129, 255, 257, 1_000];

fn values(rows: usize) -> Vec<Vec<u8>> {
    (0..rows).map(|row| format!("value {row}").into_bytes()).collect()
}

fn indices(rows: usize) -> Vec<u64> {
    (0..rows as u64).collect()
}

/// Values that repeat and share prefixes, the same on every run.
fn fixed(rows: usize, width: usize, distinct: usize) -> Vec<u8> {
    (0..rows)
        .flat_map(|row| {
            let digest = Sha512::digest(((row * row) % distinct).to_be_bytes());
            let mut value = digest[..width].to_vec();
            value[..width / 2].fill(0);
            value
        })
        .collect()
}

#[test]
fn blinded_and_plain_evaluation_agree() {
    let key = voprf::Key::generate().unwrap();
    let seed = Seed::generate().unwrap();
    for rows in SIZES.into_iter().skip(1) {
        let (values, indices) = (values(rows), indices(rows));
        let blinds = Blinds::derived(&seed, 0, &indices);
        let blinded = voprf::blind(&values, &blinds).unwrap();
        let (evaluated, proof) = key.blind_evaluate(&blinded).unwrap();
        let answer = voprf::Answer {
            evaluated: &evaluated,
            proof: &proof.to_bytes(),
            public_key: key.public_key(),
        };
        let finalized = voprf::finalize(&values, &blinds, &blinded, answer, 83).unwrap();
        assert_eq!(finalized, key.fingerprints(&values, 83).unwrap());
        assert_eq!(finalized.len(), rows * 11);
    }
}

#[test]
fn ecdh_commutes() {
    let [a, b] = [1, 2].map(|byte| Seed::from_secret_bytes(&[byte; 32]).ecdh_scalar(0).unwrap());
    for rows in SIZES {
        let values = values(rows);
        let one_way = a.multiply(&b.blind(&values).unwrap()).unwrap();
        assert_eq!(one_way, b.multiply(&a.blind(&values).unwrap()).unwrap());
        assert_eq!(one_way.iter().collect::<HashSet<_>>().len(), rows);
    }
}

#[test]
fn orders_are_permutations() {
    let seed = Seed::generate().unwrap();
    for rows in SIZES {
        let mut order = seed.order(0, rows as u64).unwrap();
        order.sort_unstable();
        assert_eq!(order, indices(rows));
    }
}

#[test]
fn sorting_agrees_with_the_standard_sort() {
    for rows in SIZES {
        for width in [1, 2, 7, 8, 9, 32, 33] {
            let values = fixed(rows, width, 300);
            let column = FixedRows::new(&values, width).unwrap();
            let (sorted, from) = sorted::sort(column);
            let mut expected: Vec<(&[u8], u64)> = values.chunks(width).zip(0..).collect();
            expected.sort();
            let expected_values: Vec<u8> =
                expected.iter().flat_map(|(value, _)| value.iter().copied()).collect();
            assert_eq!(sorted, expected_values);
            let expected_from: Vec<u64> = expected.iter().map(|&(_, row)| row).collect();
            assert_eq!(from, expected_from);
        }
    }
}

#[test]
fn the_first_row_that_does_not_increase_is_found() {
    let column = |values: &'static [u8]| FixedRows::new(values, 2).unwrap();
    assert_eq!(sorted::first_not_increasing(column(b""), Some(b"zz")), None);
    assert_eq!(sorted::first_not_increasing(column(b"aaabba"), None), None);
    assert_eq!(sorted::first_not_increasing(column(b"aaabba"), Some(b"Zz")), None);
    assert_eq!(sorted::first_not_increasing(column(b"aaabba"), Some(b"aa")), Some(0));
    assert_eq!(sorted::first_not_increasing(column(b"aaabab"), None), Some(2));
    assert_eq!(sorted::first_not_increasing(column(b"aaabaa"), None), Some(2));
}

#[test]
fn membership_agrees_with_a_set() {
    for haystack_rows in SIZES {
        for needle_rows in SIZES {
            let haystack = fixed(haystack_rows, 10, 700);
            let needles = fixed(needle_rows, 10, 1_400);
            let set: HashSet<&[u8]> = haystack.chunks(10).collect();
            let expected: Vec<bool> = needles.chunks(10).map(|value| set.contains(value)).collect();
            let column = |values| FixedRows::new(values, 10).unwrap();
            let found = membership::contains(&column(&haystack), &column(&needles)).unwrap();
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn merkle_roots_are_the_same_on_many_cores() {
    fn root(values: &[Vec<u8>]) -> [u8; 32] {
        match values.len() {
            0 => Sha256::digest([]).into(),
            1 => Sha256::new_with_prefix([0]).chain_update(&values[0]).finalize().into(),
            n => {
                let (left, right) = values.split_at(n.next_power_of_two() / 2);
                Sha256::new_with_prefix([1])
                    .chain_update(root(left))
                    .chain_update(root(right))
                    .finalize()
                    .into()
            }
        }
    }
    for rows in [0, 1, 3, 2_047, 2_048, 2_049, 5_000] {
        let values = values(rows);
        assert_eq!(merkle::root(&values), root(&values));
    }
}
