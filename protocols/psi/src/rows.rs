//! A column of byte strings, as a caller holds it.

/// A column of byte strings that can be read by row from any thread.
pub trait Rows: Sync {
    /// The number of rows.
    fn len(&self) -> usize;

    /// The value in a row below `len()`.
    fn value(&self, row: usize) -> &[u8];

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: AsRef<[u8]> + Sync> Rows for [T] {
    fn len(&self) -> usize {
        <[T]>::len(self)
    }

    fn value(&self, row: usize) -> &[u8] {
        self[row].as_ref()
    }
}

impl<T: AsRef<[u8]> + Sync> Rows for Vec<T> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn value(&self, row: usize) -> &[u8] {
        self[row].as_ref()
    }
}
