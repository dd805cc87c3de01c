//! Which instructions compute: AVX-512 IFMA where the machine has it, else what
//! `curve25519-dalek` and `sha2` choose by themselves. The bytes that come out are the same.

use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(target_arch = "x86_64")]
use crate::group::simd::Ifma;

static PORTABLE: AtomicBool = AtomicBool::new(false);

/// For tests and measurements, which compare the two: compute portably from now on, or again with
/// what the machine has.
#[doc(hidden)]
pub fn set_portable(portable: bool) {
    PORTABLE.store(portable, Ordering::Relaxed);
}

/// For tests and measurements: the name of what computes now.
#[doc(hidden)]
pub fn name() -> &'static str {
    if has_ifma() { "avx512ifma" } else { "portable" }
}

#[cfg(target_arch = "x86_64")]
fn has_ifma() -> bool {
    ifma().is_some()
}

#[cfg(not(target_arch = "x86_64"))]
fn has_ifma() -> bool {
    false
}

/// Evidence that the machine has the instructions, if it does.
#[cfg(target_arch = "x86_64")]
pub(crate) fn ifma() -> Option<Ifma> {
    if PORTABLE.load(Ordering::Relaxed) { None } else { Ifma::detect() }
}
