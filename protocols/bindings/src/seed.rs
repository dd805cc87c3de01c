//! `Seed`: the authority's side of `oprf`, and what both sides of `ecdh` begin with.

use psishare_psi::seed::{FIRST_PASS, SEED_BYTES, Seed as CoreSeed};
use psishare_psi::{Blinds, Error, voprf};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::column::{self, Elements, Indices, Owner, Values};
use crate::ecdh_scalar::EcdhScalar;
use crate::oprf_key::bit_count;
use crate::{cores, fault};

/// The secret seed of one exchange.
#[pyclass(frozen, module = "psishare._native")]
pub(crate) struct Seed(CoreSeed);

#[pymethods]
impl Seed {
    #[staticmethod]
    fn generate(py: Python<'_>) -> PyResult<Self> {
        CoreSeed::generate().map(Self).map_err(|error| fault::raise(py, error))
    }

    #[staticmethod]
    fn from_secret_bytes(py: Python<'_>, secret: &[u8]) -> PyResult<Self> {
        Ok(Self(CoreSeed::from_secret_bytes(&seed_bytes(py, secret)?)))
    }

    fn secret_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.secret_bytes())
    }

    fn commitment<'py>(&self, py: Python<'py>, input_root: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let input_root = input_root.try_into().map_err(|_| {
            fault::input_error(py, "An input root has 32 bytes.", "Give what merkle_root returned.")
        })?;
        Ok(PyBytes::new(py, &self.0.commitment(input_root)))
    }

    fn order<'py>(&self, n_rows: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = n_rows.py();
        let n_rows: u64 = n_rows.extract().map_err(|foreign| {
            let mend = "Give the number of distinct values.";
            let ours = fault::input_error(py, "A number of rows is a natural number.", mend);
            fault::instead_of(py, foreign, ours)
        })?;
        let order = cores::run(py, || self.0.order(FIRST_PASS, n_rows))?;
        column::indices(py, order)
    }

    fn blind<'py>(
        &self,
        identifiers: &Bound<'py, PyAny>,
        indices: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = identifiers.py();
        let values = Values::import(identifiers)?;
        let indices = Indices::import(indices)?;
        let blinds = Blinds::derived(&self.0, FIRST_PASS, indices.values());
        let blinded = cores::run(py, || voprf::blind(&values, &blinds))?;
        column::elements(py, blinded)
    }

    #[allow(clippy::too_many_arguments, reason = "keyword-only, as the stub has them")]
    #[pyo3(signature = (identifiers, indices, blinded, evaluated, *, proof, public_key, bits))]
    fn finalize<'py>(
        &self,
        identifiers: &Bound<'py, PyAny>,
        indices: &Bound<'py, PyAny>,
        blinded: &Bound<'py, PyAny>,
        evaluated: &Bound<'py, PyAny>,
        proof: &[u8],
        public_key: &[u8],
        bits: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = identifiers.py();
        let values = Values::import(identifiers)?;
        let indices = Indices::import(indices)?;
        let blinded = Elements::import(blinded, Owner::Ours)?;
        let evaluated = Elements::import(evaluated, Owner::Peer)?;
        let bits = bit_count(bits)?;
        let public_key = public_key.try_into().map_err(|_| fault::raise(py, Error::PublicKey))?;
        let blinds = Blinds::derived(&self.0, FIRST_PASS, indices.values());
        let answer = voprf::Answer { evaluated: evaluated.encodings(), proof, public_key };
        let outputs = cores::run(py, || {
            voprf::finalize(&values, &blinds, blinded.encodings(), answer, bits)
        })?;
        column::fixed(py, outputs, bits.div_ceil(8))
    }

    fn scalar(&self, py: Python<'_>) -> PyResult<EcdhScalar> {
        self.0.ecdh_scalar(FIRST_PASS).map(EcdhScalar).map_err(|error| fault::raise(py, error))
    }

    #[staticmethod]
    fn __repr__() -> &'static str {
        "Seed(<redacted>)"
    }
}

/// Read the bytes of a seed.
pub(crate) fn seed_bytes(py: Python<'_>, seed: &[u8]) -> PyResult<[u8; SEED_BYTES]> {
    seed.try_into().map_err(|_| {
        fault::input_error(py, "A seed has 32 bytes.", "Give the 32 bytes of the opening.")
    })
}
