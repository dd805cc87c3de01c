//! The cryptography of psishare.
//!
//! [`oprf`] and [`voprf`] are RFC 9497's modes 0x00 and 0x01 for the suite ristretto255-SHA512;
//! [`ecdh`] is psishare's symmetric protocol on the same group; [`seed`] derives what one exchange
//! keeps secret; [`shard`] is what an encoded set consists of; [`merkle`],
//! [`sorted`], [`distinct`] and [`membership`] are what the protocols need around them.
//! `protocols/specs/oprf.md` and `ecdh.md` say what every byte means.
//!
//! Everything works on batches and on all cores (rayon's current pool). Nothing here knows Python,
//! Arrow, files or sockets. Secrets are zeroized when they are dropped and print `<redacted>`. Code
//! on secrets is constant-time; what is not says `vartime` and touches public data only.
//!
//! No input makes this crate panic: what a caller or a peer can get wrong is an [`Error`], which
//! names a row and never a value.

#[doc(hidden)]
pub mod backend;
mod blinds;
mod chunks;
pub mod distinct;
mod dleq;
pub mod ecdh;
mod error;
mod fingerprint;
mod frame;
mod group;
mod hash_to_curve;
pub mod membership;
pub mod merkle;
pub mod oprf;
mod rows;
mod secret;
pub mod seed;
mod sha512;
pub mod shard;
pub mod sorted;
mod suite;
pub mod voprf;

pub use blinds::Blinds;
pub use dleq::{PROOF_BYTES, Proof};
pub use error::{Error, Fault};
pub use fingerprint::MAX_BITS;
pub use group::{ELEMENT_BYTES, Encoding, is_canonical_element, one_way_map};
pub use rows::Rows;
pub use suite::{MAX_FRAME_ROWS, MAX_VALUE_BYTES, OUTPUT_BYTES};
