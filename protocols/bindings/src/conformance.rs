//! Deterministic entry points, for published vectors and for nothing else.

use psishare_psi::{Blinds, Encoding, Error, OUTPUT_BYTES, Proof, oprf, voprf};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::column::{self, Elements, Owner, Values};
use crate::oprf_key::OprfKey;
use crate::seed::seed_bytes;
use crate::{cores, fault};

#[pyfunction]
pub(crate) fn one_way_map<'py>(py: Python<'py>, uniform: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let uniform = uniform.try_into().map_err(|_| {
        fault::input_error(py, "The one-way map takes 64 bytes.", "Give 64 uniform bytes.")
    })?;
    Ok(PyBytes::new(py, &psishare_psi::one_way_map(uniform)))
}

#[pyfunction]
pub(crate) fn is_canonical_element(encoding: &[u8]) -> bool {
    encoding.try_into().is_ok_and(psishare_psi::is_canonical_element)
}

#[pyfunction]
pub(crate) fn blind_with<'py>(
    identifiers: &Bound<'py, PyAny>,
    blinds: &[u8],
) -> PyResult<Bound<'py, PyAny>> {
    blinded(identifiers, blinds, voprf::blind)
}

#[pyfunction]
pub(crate) fn blind_rfc9497<'py>(
    identifiers: &Bound<'py, PyAny>,
    blinds: &[u8],
) -> PyResult<Bound<'py, PyAny>> {
    blinded(identifiers, blinds, voprf::blind_rfc9497)
}

/// One of the two ways to blind.
type Blind = fn(&Values, &Blinds<'_>) -> Result<Vec<Encoding>, Error>;

fn blinded<'py>(
    identifiers: &Bound<'py, PyAny>,
    blinds: &[u8],
    blind: Blind,
) -> PyResult<Bound<'py, PyAny>> {
    let py = identifiers.py();
    let values = Values::import(identifiers)?;
    let scalars = scalars(py, blinds)?;
    let blinded = cores::run(py, || blind(&values, &Blinds::given(scalars)))?;
    column::elements(py, blinded)
}

#[pyfunction]
pub(crate) fn prove_with<'py>(
    key: &Bound<'py, OprfKey>,
    blinded: &Bound<'py, PyAny>,
    evaluated: &Bound<'py, PyAny>,
    nonce: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    proved(key, blinded, evaluated, nonce, voprf::Key::prove_with)
}

#[pyfunction]
pub(crate) fn prove_rfc9497<'py>(
    key: &Bound<'py, OprfKey>,
    blinded: &Bound<'py, PyAny>,
    evaluated: &Bound<'py, PyAny>,
    nonce: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    proved(key, blinded, evaluated, nonce, voprf::Key::prove_rfc9497)
}

/// One of the two kinds of proofs.
type Prove = fn(&voprf::Key, &[Encoding], &[Encoding], &[u8; 32]) -> Result<Proof, Error>;

fn proved<'py>(
    key: &Bound<'py, OprfKey>,
    blinded: &Bound<'py, PyAny>,
    evaluated: &Bound<'py, PyAny>,
    nonce: &[u8],
    prove: Prove,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = key.py();
    let key = key.get();
    let blinded = Elements::import(blinded, Owner::Peer)?;
    let evaluated = Elements::import(evaluated, Owner::Ours)?;
    let nonce = nonce.try_into().map_err(|_| {
        fault::input_error(py, "A nonce has 32 bytes.", "Give one canonical scalar.")
    })?;
    let proof =
        cores::run(py, || prove(&key.0, blinded.encodings(), evaluated.encodings(), nonce))?;
    Ok(PyBytes::new(py, &proof.to_bytes()))
}

#[pyfunction]
#[pyo3(signature = (blinded, evaluated, *, proof, public_key))]
pub(crate) fn verify_rfc9497(
    blinded: &Bound<'_, PyAny>,
    evaluated: &Bound<'_, PyAny>,
    proof: &[u8],
    public_key: &[u8],
) -> PyResult<()> {
    let py = blinded.py();
    let blinded = Elements::import(blinded, Owner::Ours)?;
    let evaluated = Elements::import(evaluated, Owner::Peer)?;
    let public_key = public_key.try_into().map_err(|_| fault::raise(py, Error::PublicKey))?;
    let answer = voprf::Answer { evaluated: evaluated.encodings(), proof, public_key };
    cores::run(py, || voprf::verify_rfc9497(blinded.encodings(), answer))
}

/// What `base_mode` hands out: secret key, blinded, evaluated, outputs.
type BaseMode<'py> = (Bound<'py, PyBytes>, Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>);

#[pyfunction]
#[pyo3(signature = (identifiers, blinds, *, seed, info))]
pub(crate) fn base_mode<'py>(
    identifiers: &Bound<'py, PyAny>,
    blinds: &[u8],
    seed: &[u8],
    info: &[u8],
) -> PyResult<BaseMode<'py>> {
    let py = identifiers.py();
    let values = Values::import(identifiers)?;
    let blinds = Blinds::given(scalars(py, blinds)?);
    let seed = seed_bytes(py, seed)?;
    let (key, blinded, evaluated, outputs) = cores::run(py, || {
        let key = oprf::Key::derive_key_pair(&seed, info)?;
        let blinded = oprf::blind(&values, &blinds)?;
        let evaluated = key.blind_evaluate(&blinded)?;
        let outputs = oprf::finalize(&values, &blinds, &evaluated)?;
        Ok((key, blinded, evaluated, outputs))
    })?;
    Ok((
        PyBytes::new(py, &*key.secret_bytes()),
        column::elements(py, blinded)?,
        column::elements(py, evaluated)?,
        column::fixed(py, outputs, OUTPUT_BYTES)?,
    ))
}

/// Read scalars of 32 bytes each, laid one after the other.
fn scalars<'a>(py: Python<'_>, bytes: &'a [u8]) -> PyResult<&'a [[u8; 32]]> {
    match bytes.as_chunks() {
        (scalars, []) => Ok(scalars),
        _ => Err(fault::input_error(py, "A scalar has 32 bytes.", "Give 32 bytes for each row.")),
    }
}
