//! What protocols need around the group: order, membership, the Merkle tree hash.

use psishare_psi::sorted::FramedRows;
use psishare_psi::{distinct, ecdh, membership, merkle, sorted};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::column::{self, Elements, Fixed, Owner, Values};
use crate::{cores, fault};

#[pyfunction]
pub(crate) fn sort_elements<'py>(
    elements: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let py = elements.py();
    let elements = Fixed::import(elements)?;
    let rows = elements.rows(py)?;
    let (values, from) = cores::run(py, || Ok(sorted::sort(rows)))?;
    Ok((column::fixed(py, values, elements.width())?, column::indices(py, from)?))
}

#[pyfunction]
pub(crate) fn require_elements(elements: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = elements.py();
    let elements = Elements::import(elements, Owner::Peer)?;
    cores::run(py, || ecdh::require_elements(elements.encodings()))
}

#[pyfunction]
#[pyo3(signature = (elements, previous))]
pub(crate) fn first_not_increasing(
    elements: &Bound<'_, PyAny>,
    previous: Option<&[u8]>,
) -> PyResult<Option<usize>> {
    let py = elements.py();
    let elements = Fixed::import(elements)?;
    let rows = elements.rows(py)?;
    if previous.is_some_and(|previous| previous.len() != elements.width()) {
        return Err(fault::input_error(
            py,
            "The previous element has another width than these.",
            "Give the last element of the frame before.",
        ));
    }
    Ok(py.detach(|| sorted::first_not_increasing(rows, previous)))
}

#[pyfunction]
pub(crate) fn contains<'py>(
    haystack: &Bound<'py, PyAny>,
    needles: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = haystack.py();
    let (haystack, needles) = (Fixed::import(haystack)?, Fixed::import(needles)?);
    if haystack.width() != needles.width() {
        return Err(fault::input_error(
            py,
            "The two columns have values of different widths.",
            "Compare values of one width.",
        ));
    }
    let (haystack, needles) = (haystack.rows(py)?, needles.rows(py)?);
    let found = cores::run(py, || membership::contains(&haystack, &needles))?;
    column::booleans(py, found)
}

#[allow(clippy::needless_pass_by_value, reason = "pyo3 hands over a list's items as its own")]
#[pyfunction]
pub(crate) fn contains_in_frames<'py>(
    py: Python<'py>,
    haystack: Vec<Bound<'py, PyAny>>,
    needles: Vec<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let (haystack, needles) = (import_frames(&haystack)?, import_frames(&needles)?);
    let (haystack, needles) = (framed(py, &haystack)?, framed(py, &needles)?);
    let found = cores::run(py, || membership::contains(&haystack, &needles))?;
    column::booleans(py, found)
}

fn import_frames(frames: &[Bound<'_, PyAny>]) -> PyResult<Vec<Fixed>> {
    frames.iter().map(Fixed::import).collect()
}

fn framed<'a>(py: Python<'a>, frames: &'a [Fixed]) -> PyResult<FramedRows<'a>> {
    let rows = frames.iter().map(|frame| frame.rows(py)).collect::<PyResult<Vec<_>>>()?;
    FramedRows::new(rows).ok_or_else(|| {
        let mend = "Give frames of as many rows as the first, but for the last.";
        fault::input_error(py, "A frame within a column has another length.", mend)
    })
}

#[pyfunction]
pub(crate) fn lookup<'py>(
    haystack: &Bound<'py, PyAny>,
    needles: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = haystack.py();
    let (column, needles) = (Fixed::import(haystack)?, Fixed::import(needles)?);
    if column.width() != needles.width() {
        return Err(fault::input_error(
            py,
            "The two columns have values of different widths.",
            "Compare values of one width.",
        ));
    }
    let (column, needles) = (column.rows(py)?, needles.rows(py)?);
    let found = cores::run(py, || Ok(sorted::lookup(column, needles)))?;
    column::booleans(py, found)
}

#[pyfunction]
pub(crate) fn distinct_rows<'py>(
    values: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let py = values.py();
    let values = Values::import(values)?;
    let found = cores::run(py, || distinct::distinct(&values))?;
    Ok((column::short_indices(py, found.first_rows)?, column::short_indices(py, found.indices)?))
}

#[pyfunction]
pub(crate) fn merkle_root<'py>(values: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = values.py();
    let values = Values::import(values)?;
    let root = cores::run(py, || Ok(merkle::root(&values)))?;
    Ok(PyBytes::new(py, &root))
}
