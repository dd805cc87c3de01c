//! The distinct values of a column, and which of them each row holds.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use rayon::prelude::*;

use crate::{Error, Rows};

/// A column's distinct values, by the row that holds each first, and the place of each row's value
/// among them.
#[derive(Debug, PartialEq, Eq)]
pub struct Distinct {
    /// The first row of each distinct value, increasing.
    pub first_rows: Vec<u32>,
    /// For each row the index of its value in `first_rows`.
    pub indices: Vec<u32>,
}

/// Find the distinct values of a column, in the order in which they occur first.
///
/// The hash is keyed afresh for each call: whoever wrote the column cannot aim at one bucket. Each
/// core looks at the values of its share of the hashes, so that no two of them meet.
///
/// # Errors
/// `TooManyRows` where there are 2^32 rows or more.
pub fn distinct<R: Rows + ?Sized>(values: &R) -> Result<Distinct, Error> {
    let n_rows = u32::try_from(values.len())
        .map_err(|_| Error::TooManyRows { rows: values.len() as u64 })?;
    let state = RandomState::new();
    let hashes: Vec<u64> =
        (0..values.len()).into_par_iter().map(|row| state.hash_one(values.value(row))).collect();
    let shares = rayon::current_num_threads().next_power_of_two() as u64;
    let found: Vec<Vec<(u32, u32)>> = (0..shares)
        .into_par_iter()
        .map(|share| first_rows(values, &hashes, n_rows, |hash| hash % shares == share))
        .collect();
    drop(hashes);
    // First, for each row the first row of its value; then, in place, that value's index.
    let mut indices = vec![0; values.len()];
    for (row, first) in found.into_iter().flatten() {
        indices[row as usize] = first;
    }
    let mut first_rows = Vec::new();
    for row in 0..n_rows {
        let first = indices[row as usize];
        indices[row as usize] = if first == row {
            first_rows.push(row);
            // No more than rows, which fit.
            u32::try_from(first_rows.len() - 1).unwrap_or(u32::MAX)
        } else {
            // An earlier row, which holds its index by now.
            indices[first as usize]
        };
    }
    Ok(Distinct { first_rows, indices })
}

/// The rows whose hash is taken, in order, each with the first row of its value.
fn first_rows<R: Rows + ?Sized>(
    values: &R,
    hashes: &[u64],
    n_rows: u32,
    takes: impl Fn(u64) -> bool,
) -> Vec<(u32, u32)> {
    let mut table: HashTable<u32> = HashTable::new();
    let mut found = Vec::new();
    for row in (0..n_rows).filter(|&row| takes(hashes[row as usize])) {
        let value = values.value(row as usize);
        let entry = table.entry(
            // The lowest bits are the same for the whole share; the table looks at them first.
            hashes[row as usize].rotate_right(16),
            |&other| values.value(other as usize) == value,
            |&other| hashes[other as usize].rotate_right(16),
        );
        found.push((row, *entry.or_insert(row).get()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_finds_the_first_of_its_value() {
        for n_rows in [0, 1, 2, 1_000, 40_000] {
            let values: Vec<Vec<u8>> =
                (0..n_rows).map(|row: u32| (row * row % 997).to_string().into_bytes()).collect();
            let found = distinct(&values).unwrap();
            assert!(found.first_rows.is_sorted_by(|a, b| a < b));
            for (row, &index) in found.indices.iter().enumerate() {
                let first = found.first_rows[index as usize] as usize;
                assert_eq!(values[first], values[row]);
                assert_eq!(values.iter().position(|value| *value == values[row]), Some(first));
            }
        }
    }

    #[test]
    fn the_empty_value_is_a_value() {
        let found = distinct(&vec![&b""[..], b"a", b"", b"a"]).unwrap();
        assert_eq!(found, Distinct { first_rows: vec![0, 1], indices: vec![0, 1, 0, 1] });
    }
}
