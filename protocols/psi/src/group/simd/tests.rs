//! The backend against independent arithmetic, `curve25519-dalek` and `sha2`.
//!
//! `tests/simd_mutants.py` shows that these tests notice a wrong constant or bound.

mod batch;
mod campaign;
mod field;
mod integer;
mod sha512;

use sha2::{Digest, Sha512};

use super::lanes::Ifma;

/// Run a test that is compiled for this backend's instructions, where the machine has them.
fn on_ifma(test: unsafe fn()) {
    if Ifma::detect().is_some() {
        // SAFETY: the machine has the instructions.
        unsafe { test() }
    }
}

/// 64 bytes that look random and are the same on every run.
fn noise(stream: &str, index: u64) -> [u8; 64] {
    Sha512::new_with_prefix(stream).chain_update(index.to_le_bytes()).finalize().into()
}
