//! How a batch is spread over the cores.

use std::ops::Range;

use rayon::prelude::*;

use crate::Error;

/// Rows of one piece of work: enough to share one field inversion, few enough to stay in L2.
pub(crate) const CHUNK_ROWS: usize = 128;

/// Fill `out`, which holds `width` items for each row, a chunk of rows at a time on all cores.
///
/// `work` gets the rows of its chunk and their part of `out`; the rows of its errors count from the
/// chunk's first. Where several rows are at fault, the first of them is named, so that the answer
/// does not depend on which core was faster.
pub(crate) fn fill<T: Send>(
    out: &mut [T],
    width: usize,
    work: impl Fn(Range<usize>, &mut [T]) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let fault =
        out.par_chunks_mut(CHUNK_ROWS * width).enumerate().find_map_first(|(chunk, part)| {
            let first = chunk * CHUNK_ROWS;
            let rows = first..first + part.len() / width;
            work(rows, part).err().map(|error| error.shifted(first))
        });
    fault.map_or(Ok(()), Err)
}
