//! Columns: Arrow arrays in through the `PyCapsule` interface, pyarrow arrays out.

use arrow_array::{
    Array, BinaryArray, BooleanArray, FixedSizeBinaryArray, LargeBinaryArray, UInt8Array,
    UInt32Array, UInt64Array,
};
use arrow_buffer::Buffer;
use arrow_data::ArrayData;
use arrow_pyarrow::{FromPyArrow, ToPyArrow};
use arrow_schema::DataType;
use psishare_psi::sorted::FixedRows;
use psishare_psi::{ELEMENT_BYTES, Encoding, Rows};
use pyo3::prelude::*;

use crate::fault;

/// Whose column it is, so whose fault it is where it is not as it must be.
#[derive(Clone, Copy)]
pub(crate) enum Owner {
    /// The caller's.
    Ours,
    /// The other party's, handed on by the caller.
    Peer,
}

impl Owner {
    fn error(self, py: Python<'_>, message: &str, mend: &str) -> PyErr {
        match self {
            Self::Ours => fault::input_error(py, message, mend),
            Self::Peer => fault::protocol_error(py, message),
        }
    }
}

/// Import one array without nulls.
fn import(object: &Bound<'_, PyAny>, owner: Owner, wanted: &str) -> PyResult<ArrayData> {
    let py = object.py();
    let data = ArrayData::from_pyarrow_bound(object).map_err(|foreign| {
        let ours = fault::input_error(
            py,
            &format!("This is not one valid Arrow array of {wanted}."),
            "Give a pyarrow.Array, or anything with __arrow_c_array__; combine the chunks of a chunked array.",
        );
        fault::instead_of(py, foreign, ours)
    })?;
    if data.null_count() > 0 {
        let mend = "Leave out the rows that have no value.";
        return Err(owner.error(py, &format!("An array of {wanted} has nulls."), mend));
    }
    Ok(data)
}

fn wrong_type(py: Python<'_>, owner: Owner, wanted: &str) -> PyErr {
    owner.error(py, &format!("An array is not of type {wanted}."), &format!("Cast it to {wanted}."))
}

/// A column of `binary` or `large_binary`.
pub(crate) enum Values {
    Binary(BinaryArray),
    LargeBinary(LargeBinaryArray),
}

impl Values {
    pub(crate) fn import(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let wanted = "binary or large_binary";
        let data = import(object, Owner::Ours, wanted)?;
        match data.data_type() {
            DataType::Binary => Ok(Self::Binary(data.into())),
            DataType::LargeBinary => Ok(Self::LargeBinary(data.into())),
            _ => Err(wrong_type(object.py(), Owner::Ours, wanted)),
        }
    }
}

impl Rows for Values {
    fn len(&self) -> usize {
        match self {
            Self::Binary(array) => array.len(),
            Self::LargeBinary(array) => array.len(),
        }
    }

    fn value(&self, row: usize) -> &[u8] {
        match self {
            Self::Binary(array) => array.value(row),
            Self::LargeBinary(array) => array.value(row),
        }
    }
}

/// A column of `fixed_size_binary` of any width above zero.
pub(crate) struct Fixed {
    array: FixedSizeBinaryArray,
    width: usize,
}

impl Fixed {
    pub(crate) fn import(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::import_of(object, Owner::Ours)
    }

    fn import_of(object: &Bound<'_, PyAny>, owner: Owner) -> PyResult<Self> {
        let wanted = "fixed_size_binary";
        let data = import(object, owner, wanted)?;
        match *data.data_type() {
            DataType::FixedSizeBinary(width) if width > 0 => {
                Ok(Self { array: data.into(), width: usize::try_from(width).unwrap_or_default() })
            }
            _ => Err(wrong_type(object.py(), owner, wanted)),
        }
    }

    pub(crate) fn rows(&self, py: Python<'_>) -> PyResult<FixedRows<'_>> {
        FixedRows::new(self.array.value_data(), self.width)
            .ok_or_else(|| wrong_type(py, Owner::Ours, "fixed_size_binary"))
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }
}

/// A column of `fixed_size_binary[32]`.
pub(crate) struct Elements(FixedSizeBinaryArray);

impl Elements {
    pub(crate) fn import(object: &Bound<'_, PyAny>, owner: Owner) -> PyResult<Self> {
        let fixed = Fixed::import_of(object, owner)?;
        if fixed.width == ELEMENT_BYTES {
            Ok(Self(fixed.array))
        } else {
            Err(wrong_type(object.py(), owner, "fixed_size_binary[32]"))
        }
    }

    pub(crate) fn encodings(&self) -> &[Encoding] {
        self.0.value_data().as_chunks().0
    }
}

/// A column of `uint64`.
pub(crate) struct Indices(UInt64Array);

impl Indices {
    pub(crate) fn import(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let data = import(object, Owner::Ours, "uint64")?;
        match data.data_type() {
            DataType::UInt64 => Ok(Self(data.into())),
            _ => Err(wrong_type(object.py(), Owner::Ours, "uint64")),
        }
    }

    pub(crate) fn values(&self) -> &[u64] {
        self.0.values()
    }
}

/// The bytes of a file: a column of `uint8`.
pub(crate) struct Octets(UInt8Array);

impl Octets {
    pub(crate) fn import(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let data = import(object, Owner::Ours, "uint8")?;
        match data.data_type() {
            DataType::UInt8 => Ok(Self(data.into())),
            _ => Err(wrong_type(object.py(), Owner::Ours, "uint8")),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.values()
    }
}

/// Hand out values of one width, laid one after the other, as `fixed_size_binary[width]`.
pub(crate) fn fixed(py: Python<'_>, values: Vec<u8>, width: usize) -> PyResult<Bound<'_, PyAny>> {
    let rows = values.len().checked_div(width).unwrap_or_default();
    let data = i32::try_from(width).ok().and_then(|width| {
        let buffers = vec![Buffer::from_vec(values)];
        ArrayData::try_new(DataType::FixedSizeBinary(width), rows, None, 0, buffers, vec![]).ok()
    });
    match data {
        Some(data) => data.to_pyarrow(py),
        None => Err(fault::internal_error(
            py,
            "A result does not fit an Arrow array.",
            "Split the work into smaller batches.",
        )),
    }
}

/// Hand out elements as `fixed_size_binary[32]`.
pub(crate) fn elements(py: Python<'_>, elements: Vec<Encoding>) -> PyResult<Bound<'_, PyAny>> {
    fixed(py, elements.into_flattened(), ELEMENT_BYTES)
}

/// Hand out row numbers as `uint64`.
pub(crate) fn indices(py: Python<'_>, indices: Vec<u64>) -> PyResult<Bound<'_, PyAny>> {
    UInt64Array::from(indices).into_data().to_pyarrow(py)
}

/// Hand out row numbers as `uint32`.
pub(crate) fn short_indices(py: Python<'_>, indices: Vec<u32>) -> PyResult<Bound<'_, PyAny>> {
    UInt32Array::from(indices).into_data().to_pyarrow(py)
}

/// Hand out answers as `bool`.
pub(crate) fn booleans(py: Python<'_>, answers: Vec<bool>) -> PyResult<Bound<'_, PyAny>> {
    BooleanArray::from(answers).into_data().to_pyarrow(py)
}
