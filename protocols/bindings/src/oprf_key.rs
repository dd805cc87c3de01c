//! `OprfKey`: the platform's side of `oprf`.

use psishare_psi::{MAX_BITS, voprf};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::column::{self, Elements, Owner, Values};
use crate::{cores, fault};

/// The platform's secret key.
#[pyclass(frozen, module = "psishare._native")]
pub(crate) struct OprfKey(pub(crate) voprf::Key);

#[pymethods]
impl OprfKey {
    #[staticmethod]
    fn generate(py: Python<'_>) -> PyResult<Self> {
        voprf::Key::generate().map(Self).map_err(|error| fault::raise(py, error))
    }

    #[staticmethod]
    fn derive_key_pair(py: Python<'_>, seed: &[u8], info: &[u8]) -> PyResult<Self> {
        let seed = crate::seed::seed_bytes(py, seed)?;
        voprf::Key::derive_key_pair(&seed, info).map(Self).map_err(|error| fault::raise(py, error))
    }

    #[staticmethod]
    fn from_secret_bytes(py: Python<'_>, secret: &[u8]) -> PyResult<Self> {
        voprf::Key::from_secret_bytes(secret).map(Self).map_err(|error| fault::raise(py, error))
    }

    fn secret_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &*self.0.secret_bytes())
    }

    #[getter]
    fn public_key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.public_key())
    }

    fn evaluate<'py>(&self, identifiers: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.cut_outputs(identifiers, MAX_BITS)
    }

    #[pyo3(signature = (identifiers, *, bits))]
    fn fingerprints<'py>(
        &self,
        identifiers: &Bound<'py, PyAny>,
        bits: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.cut_outputs(identifiers, bit_count(bits)?)
    }

    fn blind_evaluate<'py>(
        &self,
        elements: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyBytes>)> {
        let py = elements.py();
        let blinded = Elements::import(elements, Owner::Peer)?;
        let (evaluated, proof) = cores::run(py, || self.0.blind_evaluate(blinded.encodings()))?;
        Ok((column::elements(py, evaluated)?, PyBytes::new(py, &proof.to_bytes())))
    }

    #[staticmethod]
    fn __repr__() -> &'static str {
        "OprfKey(<redacted>)"
    }
}

impl OprfKey {
    fn cut_outputs<'py>(
        &self,
        identifiers: &Bound<'py, PyAny>,
        bits: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = identifiers.py();
        let values = Values::import(identifiers)?;
        let outputs = cores::run(py, || self.0.fingerprints(&values, bits))?;
        column::fixed(py, outputs, bits.div_ceil(8))
    }
}

/// Read a number of bits; the core checks its range.
pub(crate) fn bit_count(bits: &Bound<'_, PyAny>) -> PyResult<usize> {
    bits.extract().map_err(|foreign| {
        let py = bits.py();
        fault::instead_of(py, foreign, fault::raise(py, psishare_psi::Error::FingerprintBits))
    })
}
