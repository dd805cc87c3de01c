//! Work on all cores, without the GIL.

use std::mem;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use psishare_psi::Error;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::fault;

/// The threads of this process, and the process that they belong to.
static POOL: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);

/// Run `work` on all cores, or on as many as `RAYON_NUM_THREADS` says, with the GIL released.
pub(crate) fn run<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<T> {
    let pool = py.detach(pool).ok_or_else(|| {
        fault::internal_error(
            py,
            "The operating system gave no threads to work with.",
            "Raise the limit on processes, or set RAYON_NUM_THREADS to a smaller number.",
        )
    })?;
    py.detach(|| pool.install(work)).map_err(|error| fault::raise(py, error))
}

/// The pool of this process. A process that was forked has none of its parent's threads, and would
/// wait for them for ever; it gets a pool of its own.
fn pool() -> Option<Arc<ThreadPool>> {
    let mut held = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let this_process = process::id();
    if let Some((owner, pool)) = &*held
        && *owner == this_process
    {
        return Some(Arc::clone(pool));
    }
    // The parent's pool must not be dropped here: dropping waits for locks that nobody will free.
    mem::forget(held.take());
    let pool = Arc::new(ThreadPoolBuilder::new().build().ok()?);
    *held = Some((this_process, Arc::clone(&pool)));
    Some(pool)
}
