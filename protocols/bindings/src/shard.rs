//! What an encoded set is made of: runs, shards, look-ups.

use psishare_psi::shard::{self, Shard, Slot};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::column::{self, Fixed, Octets};
use crate::oprf_key::bit_count;
use crate::{cores, fault};

#[pyfunction]
#[pyo3(signature = (fingerprints, *, bits))]
pub(crate) fn sort_distinct<'py>(
    fingerprints: &Bound<'py, PyAny>,
    bits: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = fingerprints.py();
    let (fingerprints, bits) = (Fixed::import(fingerprints)?, bit_count(bits)?);
    let rows = fingerprints.rows(py)?;
    let sorted = cores::run(py, || shard::sort_distinct(rows, bits))?;
    column::fixed(py, sorted, fingerprints.width())
}

#[pyfunction]
#[pyo3(signature = (runs, *, bits, prefix_bits, prefix))]
pub(crate) fn shard_encode<'py>(
    py: Python<'py>,
    runs: Vec<Bound<'py, PyAny>>,
    bits: usize,
    prefix_bits: usize,
    prefix: usize,
) -> PyResult<(Bound<'py, PyBytes>, usize)> {
    let runs = runs.into_iter().map(|run| Fixed::import(&run)).collect::<PyResult<Vec<_>>>()?;
    let rows = runs.iter().map(|run| run.rows(py)).collect::<PyResult<Vec<_>>>()?;
    let (bytes, items) =
        cores::run(py, || shard::encode(&rows, Slot::new(bits, prefix_bits, prefix)?))?;
    Ok((PyBytes::new(py, &bytes), items))
}

#[pyfunction]
#[pyo3(signature = (shards, needles, *, bits))]
pub(crate) fn shard_lookup<'py>(
    shards: Vec<Bound<'py, PyAny>>,
    needles: &Bound<'py, PyAny>,
    bits: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let py = needles.py();
    let shards =
        shards.into_iter().map(|shard| Octets::import(&shard)).collect::<PyResult<Vec<_>>>()?;
    let shards: Vec<&[u8]> = shards.iter().map(Octets::bytes).collect();
    let needles = Fixed::import(needles)?;
    let needles = needles.rows(py)?;
    let found = cores::run(py, || shard::lookup(&shards, needles, bits))?;
    column::booleans(py, found)
}

#[pyfunction]
#[pyo3(signature = (shard, *, bits, prefix_bits, prefix, items))]
pub(crate) fn shard_verify(
    shard: &Bound<'_, PyAny>,
    bits: usize,
    prefix_bits: usize,
    prefix: usize,
    items: usize,
) -> PyResult<()> {
    let py = shard.py();
    let shard = Octets::import(shard)?;
    py.detach(|| {
        let shard = Shard::parse(shard.bytes())?.require(Slot::new(bits, prefix_bits, prefix)?)?;
        if shard.len() != items {
            return Err(psishare_psi::Error::Shard);
        }
        shard.verify()
    })
    .map_err(|error| fault::raise(py, error))
}
