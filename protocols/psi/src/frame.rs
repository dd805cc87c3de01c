//! A frame: a column of encoded elements that the other party may have chosen.

use rayon::prelude::*;

use crate::chunks::CHUNK_ROWS;
use crate::group::Batch;
use crate::{Encoding, Error, MAX_FRAME_ROWS};

/// Decode a frame on all cores, in batches of [`CHUNK_ROWS`] rows.
///
/// # Errors
/// `Element` for the first row that is the identity or not canonical.
pub(crate) fn decode(frame: &[Encoding]) -> Result<Vec<Batch>, Error> {
    let batches: Vec<_> = frame.par_chunks(CHUNK_ROWS).map(Batch::decode).collect();
    batches
        .into_iter()
        .enumerate()
        .map(|(chunk, batch)| batch.map_err(|row| Error::Element { row: chunk * CHUNK_ROWS + row }))
        .collect()
}

/// Check that one proof can cover a frame of `rows`.
///
/// # Errors
/// `FrameRows` where it cannot.
pub(crate) fn check_rows(rows: usize) -> Result<(), Error> {
    if (1..=MAX_FRAME_ROWS).contains(&rows) { Ok(()) } else { Err(Error::FrameRows { rows }) }
}
