//! Faults become psishare's own exceptions, whose classes are Python's (`psishare/errors.py`).

use psishare_psi::{Error, Fault};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// An exception's class, message, mend and, where the class's own does not say enough, reason.
struct Raised<'a> {
    class: &'static str,
    message: &'a str,
    mend: &'a str,
    reason: Option<&'static str>,
}

impl Raised<'_> {
    fn into_pyerr(self, py: Python<'_>) -> PyErr {
        self.build(py).unwrap_or_else(|failed| failed)
    }

    fn build(self, py: Python<'_>) -> PyResult<PyErr> {
        let kwargs = PyDict::new(py);
        kwargs.set_item("mend", self.mend)?;
        kwargs.set_item("reason", self.reason)?;
        let class = py.import("psishare.errors")?.getattr(self.class)?;
        Ok(PyErr::from_value(class.call((self.message,), Some(&kwargs))?))
    }
}

/// The exception for an error of the core.
pub(crate) fn raise(py: Python<'_>, error: Error) -> PyErr {
    let class = match error.fault() {
        Fault::Caller => "InputError",
        Fault::Peer => "ProtocolError",
        Fault::Internal => "InternalError",
    };
    let message = sentence(&error.to_string());
    Raised { class, message: &message, mend: mend(error), reason: reason(error) }.into_pyerr(py)
}

/// The exception for an argument that is not what the stub asks for.
pub(crate) fn input_error(py: Python<'_>, message: &str, mend: &str) -> PyErr {
    Raised { class: "InputError", message, mend, reason: None }.into_pyerr(py)
}

/// The exception for a column of the other party's that is not what the protocol asks for.
pub(crate) fn protocol_error(py: Python<'_>, message: &str) -> PyErr {
    Raised {
        class: "ProtocolError",
        message,
        mend: "The other party's software does not follow the protocol; end the exchange.",
        reason: Some("element_invalid"),
    }
    .into_pyerr(py)
}

/// The exception for a fault of this machine.
pub(crate) fn internal_error(py: Python<'_>, message: &str, mend: &str) -> PyErr {
    Raised { class: "InternalError", message, mend, reason: None }.into_pyerr(py)
}

/// `ours`, caused by `foreign`; but what is no `Exception`, such as an interrupt, goes on as it is.
pub(crate) fn instead_of(py: Python<'_>, foreign: PyErr, ours: PyErr) -> PyErr {
    if !foreign.is_instance_of::<PyException>(py) {
        return foreign;
    }
    ours.set_cause(py, Some(foreign));
    ours
}

/// Begin with a capital and end with a stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

fn reason(error: Error) -> Option<&'static str> {
    match error {
        Error::Element { .. } => Some("element_invalid"),
        Error::Proof | Error::PublicKey => Some("proof_invalid"),
        Error::Shard => Some("shard_invalid"),
        _ => None,
    }
}

fn mend(error: Error) -> &'static str {
    match error {
        Error::ValueTooLong { .. } | Error::ValueIsIdentity { .. } => {
            "Remove this row from the list."
        }
        Error::ColumnsDiffer { .. } => "Give columns of the same number of rows.",
        Error::SecretKey => {
            "Give 32 bytes, little-endian, below the group's order and not zero; the key file may be damaged."
        }
        Error::InfoTooLong => "Give at most 65,535 bytes.",
        Error::FingerprintBits => "Give a number of bits from 1 to 512.",
        Error::Fingerprints => "Give sorted fingerprints of one set, as its key makes them.",
        Error::Shard => "Remove the dataset's copy and synchronise again.",
        Error::TooManyRows { .. } => "Split the work into smaller batches.",
        Error::Scalar { .. } => "Give canonical scalars other than zero.",
        Error::Element { .. } | Error::FrameRows { .. } | Error::AnswerRows { .. } => {
            "The other party's software does not follow the protocol; end the exchange."
        }
        Error::PublicKey => "The platform must publish a valid key; ask it for a new manifest.",
        Error::Proof => {
            "The platform did not use the key of its manifest, or the answer was altered; do not trust it."
        }
        Error::BlindIsZero { .. } | Error::KeyDerivation => "Try again with a fresh seed.",
        Error::Randomness => "Check that the operating system's random number generator works.",
        _ => "Report this with the versions of psishare and of the operating system.",
    }
}
