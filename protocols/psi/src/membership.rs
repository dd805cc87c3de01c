//! Which values of one column are in another.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashTable;
use rayon::prelude::*;

use crate::{Error, Rows};

/// For each needle, whether `haystack` holds it; both in any order.
///
/// Values of different widths are never equal. The smaller column is put in a table and the larger one runs past it. The other party may have
/// chosen every value, so the hash is keyed afresh for each call: nobody can aim at one bucket.
///
/// # Errors
/// `TooManyRows` where the smaller column has 2^32 rows or more.
pub fn contains<H, N>(haystack: &H, needles: &N) -> Result<Vec<bool>, Error>
where
    H: Rows + ?Sized,
    N: Rows + ?Sized,
{
    if haystack.len() <= needles.len() {
        let table = Table::new(haystack)?;
        return Ok((0..needles.len())
            .into_par_iter()
            .map(|row| table.find(needles.value(row)).is_some())
            .collect());
    }
    let table = Table::new(needles)?;
    let found: Vec<AtomicBool> = (0..needles.len()).map(|_| AtomicBool::new(false)).collect();
    (0..haystack.len()).into_par_iter().for_each(|row| {
        if let Some(needle) = table.find(haystack.value(row)) {
            found[needle].store(true, Ordering::Relaxed);
        }
    });
    // A needle that occurs twice stands in the table once; the second asks for the first.
    Ok((0..needles.len())
        .into_par_iter()
        .map(|row| {
            table.find(needles.value(row)).is_some_and(|first| found[first].load(Ordering::Relaxed))
        })
        .collect())
}

/// The distinct values of a column, by their first row.
struct Table<'a, R: ?Sized> {
    rows: &'a R,
    first_rows: HashTable<u32>,
    hasher: RandomState,
}

impl<'a, R: Rows + ?Sized> Table<'a, R> {
    fn new(rows: &'a R) -> Result<Self, Error> {
        let count = u32::try_from(rows.len())
            .map_err(|_| Error::TooManyRows { rows: rows.len() as u64 })?;
        let hasher = RandomState::new();
        let mut first_rows = HashTable::with_capacity(rows.len());
        let hash_of = |row: u32| hasher.hash_one(rows.value(row as usize));
        for row in 0..count {
            let value = rows.value(row as usize);
            first_rows
                .entry(
                    hasher.hash_one(value),
                    |&other: &u32| rows.value(other as usize) == value,
                    |&other| hash_of(other),
                )
                .or_insert(row);
        }
        Ok(Self { rows, first_rows, hasher })
    }

    /// The first row that holds `value`.
    fn find(&self, value: &[u8]) -> Option<usize> {
        self.first_rows
            .find(self.hasher.hash_one(value), |&row| self.rows.value(row as usize) == value)
            .map(|&row| row as usize)
    }
}
