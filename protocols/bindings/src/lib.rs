//! `psishare._native`: the Rust core for Python, on Arrow arrays.
//!
//! Nothing is decided here. Each function converts its arguments, releases the GIL, calls
//! `psishare_psi` on all cores, and converts the result or the error. Docstrings and types are in
//! `psishare/_native.pyi`.
#![forbid(unsafe_code)]

mod column;
mod conformance;
mod cores;
mod ecdh_scalar;
mod elements;
mod fault;
mod oprf_key;
mod seed;
mod shard;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    use super::{Bound, PyModule, PyModuleMethods, PyResult};

    #[pymodule_export]
    use super::conformance::{
        base_mode, blind_rfc9497, blind_with, is_canonical_element, one_way_map, prove_rfc9497,
        prove_with, verify_rfc9497,
    };
    #[pymodule_export]
    use super::ecdh_scalar::EcdhScalar;
    #[pymodule_export]
    use super::elements::{
        contains, contains_in_frames, distinct_rows, first_not_increasing, lookup, merkle_root,
        require_elements, sort_elements,
    };
    #[pymodule_export]
    use super::oprf_key::OprfKey;
    #[pymodule_export]
    use super::seed::Seed;
    #[pymodule_export]
    use super::shard::{shard_encode, shard_lookup, shard_verify, sort_distinct};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
