//! Columns of fixed-width values in byte order.

use rayon::prelude::*;

use crate::Rows;

/// A column of values of one width, laid one after the other.
#[derive(Clone, Copy, Debug)]
pub struct FixedRows<'a> {
    values: &'a [u8],
    width: usize,
}

impl<'a> FixedRows<'a> {
    /// The column of `values`; `None` where `width` is zero or the values are not whole.
    pub fn new(values: &'a [u8], width: usize) -> Option<Self> {
        (width > 0 && values.len().is_multiple_of(width)).then_some(Self { values, width })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Bytes of a value.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The value in a row below `len()`.
    pub fn value(&self, row: usize) -> &'a [u8] {
        &self.values[row * self.width..(row + 1) * self.width]
    }

    /// The first bytes of a value as a number that orders like them: what most comparisons need.
    fn prefix(&self, row: usize) -> u64 {
        let value = self.value(row);
        let taken = value.len().min(8);
        let mut prefix = [0; 8];
        prefix[..taken].copy_from_slice(&value[..taken]);
        u64::from_be_bytes(prefix)
    }
}

impl Rows for FixedRows<'_> {
    fn len(&self) -> usize {
        FixedRows::len(self)
    }

    fn value(&self, row: usize) -> &[u8] {
        FixedRows::value(self, row)
    }
}

/// A column that lies in frames, each with as many rows as the first but for the last.
#[derive(Debug)]
pub struct FramedRows<'a> {
    frames: Vec<FixedRows<'a>>,
    frame_rows: usize,
}

impl<'a> FramedRows<'a> {
    /// The column of `frames`, in their order; `None` where one but the last is shorter or longer than
    /// the first, or the last longer.
    pub fn new(frames: Vec<FixedRows<'a>>) -> Option<Self> {
        let frame_rows = frames.first().map_or(0, FixedRows::len);
        let (last, whole) = frames.split_last().map_or((0, &[][..]), |(l, w)| (l.len(), w));
        let fit = last <= frame_rows && whole.iter().all(|frame| frame.len() == frame_rows);
        fit.then_some(Self { frames, frame_rows })
    }
}

impl Rows for FramedRows<'_> {
    fn len(&self) -> usize {
        self.frames.iter().map(FixedRows::len).sum()
    }

    fn value(&self, row: usize) -> &[u8] {
        self.frames[row / self.frame_rows].value(row % self.frame_rows)
    }
}

/// Sort by bytes; equal values keep their order.
///
/// Returns the sorted values, one after the other, and at each position the row that it came from.
pub fn sort(rows: FixedRows<'_>) -> (Vec<u8>, Vec<u64>) {
    let mut keyed: Vec<(u64, usize)> =
        (0..rows.len()).into_par_iter().map(|row| (rows.prefix(row), row)).collect();
    keyed.par_sort_unstable_by(|a, b| {
        a.0.cmp(&b.0).then_with(|| rows.value(a.1).cmp(rows.value(b.1))).then(a.1.cmp(&b.1))
    });
    let mut sorted = vec![0; rows.values.len()];
    sorted.par_chunks_mut(rows.width).zip(&keyed).for_each(|(place, &(_, row))| {
        place.copy_from_slice(rows.value(row));
    });
    let order = keyed.into_iter().map(|(_, row)| row as u64).collect();
    (sorted, order)
}

/// The first row that is not above the one before it; the first row is compared with `previous`.
pub fn first_not_increasing(rows: FixedRows<'_>, previous: Option<&[u8]>) -> Option<usize> {
    if rows.is_empty() {
        return None;
    }
    if previous.is_some_and(|previous| rows.value(0) <= previous) {
        return Some(0);
    }
    (1..rows.len()).find(|&row| rows.value(row) <= rows.value(row - 1))
}

/// For each needle, whether the strictly increasing column `sorted` holds it.
///
/// Costs the needles times the logarithm of the column, whatever lies in it; a column that is not
/// sorted gives wrong answers, never a panic.
pub fn lookup(sorted: FixedRows<'_>, needles: FixedRows<'_>) -> Vec<bool> {
    if sorted.is_empty() || sorted.width() != needles.width() {
        return vec![false; needles.len()];
    }
    let (first, last) = (sorted.value(0), sorted.value(sorted.len() - 1));
    (0..needles.len())
        .into_par_iter()
        .map(|row| {
            let needle = needles.value(row);
            needle >= first && needle <= last && holds(sorted, needle)
        })
        .collect()
}

/// Whether a sorted column holds a value, by binary search.
fn holds(sorted: FixedRows<'_>, needle: &[u8]) -> bool {
    let (mut low, mut high) = (0, sorted.len());
    while low < high {
        let middle = low + (high - low) / 2;
        match sorted.value(middle).cmp(needle) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup_finds_what_is_there_and_nothing_else() {
        let values: Vec<u8> = (0..100u16).flat_map(|i| (3 * i).to_be_bytes()).collect();
        let needles: Vec<u8> = (0..400u16).flat_map(u16::to_be_bytes).collect();
        let sorted = FixedRows::new(&values, 2).unwrap();
        let found = lookup(sorted, FixedRows::new(&needles, 2).unwrap());
        let right: Vec<bool> = (0..400).map(|i| i % 3 == 0 && i < 300).collect();
        assert_eq!(found, right);
        let nothing = FixedRows::new(&[], 2).unwrap();
        assert_eq!(lookup(nothing, sorted), vec![false; 100]);
        assert!(lookup(sorted, nothing).is_empty());
    }

    #[test]
    fn frames_are_one_column() {
        let values: Vec<u8> = (0..10).collect();
        let parts = |lengths: &[usize]| {
            let mut rest = values.as_slice();
            let frames = lengths.iter().map(|&length| {
                let (frame, left) = rest.split_at(length);
                rest = left;
                FixedRows::new(frame, 1).unwrap()
            });
            FramedRows::new(frames.collect())
        };
        let framed = parts(&[4, 4, 2]).unwrap();
        let read: Vec<u8> = (0..framed.len()).map(|row| framed.value(row)[0]).collect();
        assert_eq!(read, values);
        assert_eq!(parts(&[]).unwrap().len(), 0);
        assert_eq!(parts(&[10]).unwrap().len(), 10);
        assert!(parts(&[4, 3, 3]).is_none());
        assert!(parts(&[4, 6]).is_none());
    }
}
