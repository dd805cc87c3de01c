//! `EcdhScalar`: one party's side of `ecdh`.

use psishare_psi::ecdh;
use pyo3::prelude::*;

use crate::column::{self, Elements, Owner, Values};
use crate::cores;

/// The secret scalar of one exchange.
#[pyclass(frozen, module = "psishare._native")]
pub(crate) struct EcdhScalar(pub(crate) ecdh::EcdhScalar);

#[pymethods]
impl EcdhScalar {
    fn blind<'py>(&self, identifiers: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = identifiers.py();
        let values = Values::import(identifiers)?;
        let elements = cores::run(py, || self.0.blind(&values))?;
        column::elements(py, elements)
    }

    fn multiply<'py>(&self, elements: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = elements.py();
        let elements = Elements::import(elements, Owner::Peer)?;
        let products = cores::run(py, || self.0.multiply(elements.encodings()))?;
        column::elements(py, products)
    }

    #[staticmethod]
    fn __repr__() -> &'static str {
        "EcdhScalar(<redacted>)"
    }
}
