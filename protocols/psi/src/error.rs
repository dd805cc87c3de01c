//! What can go wrong, and whose fault it is. An error holds rows and counts, never a value.

use std::fmt;

/// Whose doing an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller gave something that cannot be used.
    Caller,
    /// The other party sent something that the protocol forbids.
    Peer,
    /// Neither: this crate or its machine failed.
    Internal,
}

/// Every way in which this crate refuses or fails. Rows count from 0 within the batch given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A value is over 65,535 bytes, so RFC 9497 cannot encode its length.
    ValueTooLong {
        /// Its row.
        row: usize,
    },
    /// A value hashes to the identity, which RFC 9497 refuses; nobody knows such a value.
    ValueIsIdentity {
        /// Its row.
        row: usize,
    },
    /// Two columns that belong together have different lengths.
    ColumnsDiffer {
        /// Rows of the first.
        expected: usize,
        /// Rows of the other.
        found: usize,
    },
    /// A secret key is not 32 bytes that encode a scalar from 1 to the group's order less 1.
    SecretKey,
    /// `info` of `derive_key_pair` is over 65,535 bytes.
    InfoTooLong,
    /// The wanted number of fingerprint bits is not in 1 to 512.
    FingerprintBits,
    /// More rows than an index of this crate can count.
    TooManyRows {
        /// The rows given.
        rows: u64,
    },
    /// Fingerprints have another width than their bits give, or a run of them is not in order.
    Fingerprints,
    /// A shard is not the encoding of what its place asks for.
    Shard,
    /// A given blind or nonce is not a scalar other than zero.
    Scalar {
        /// Its row.
        row: usize,
    },
    /// An element is the identity or not canonically encoded.
    Element {
        /// Its row.
        row: usize,
    },
    /// A frame has no rows, or more than a proof can cover.
    FrameRows {
        /// The rows that it has.
        rows: usize,
    },
    /// An answer has another number of rows than its request.
    AnswerRows {
        /// Rows of the request.
        expected: usize,
        /// Rows of the answer.
        found: usize,
    },
    /// A public key is the identity or not canonically encoded.
    PublicKey,
    /// A DLEQ proof is malformed or does not hold.
    Proof,
    /// A derived blind is zero: odds of 2^-252, so rather a fault of the machine.
    BlindIsZero {
        /// Its row.
        row: usize,
    },
    /// `derive_key_pair` found no key in 256 tries: odds of 2^-64,000.
    KeyDerivation,
    /// The operating system gave no randomness.
    Randomness,
}

impl Error {
    /// Whose fault this is.
    pub fn fault(self) -> Fault {
        match self {
            Self::ValueTooLong { .. }
            | Self::ValueIsIdentity { .. }
            | Self::ColumnsDiffer { .. }
            | Self::SecretKey
            | Self::InfoTooLong
            | Self::FingerprintBits
            | Self::Fingerprints
            | Self::TooManyRows { .. }
            | Self::Scalar { .. } => Fault::Caller,
            Self::Element { .. }
            | Self::FrameRows { .. }
            | Self::AnswerRows { .. }
            | Self::PublicKey
            | Self::Proof
            | Self::Shard => Fault::Peer,
            Self::BlindIsZero { .. } | Self::KeyDerivation | Self::Randomness => Fault::Internal,
        }
    }

    /// The same error for a batch that begins at row `first` of a larger one.
    pub(crate) fn shifted(self, first: usize) -> Self {
        match self {
            Self::ValueTooLong { row } => Self::ValueTooLong { row: row + first },
            Self::ValueIsIdentity { row } => Self::ValueIsIdentity { row: row + first },
            Self::Scalar { row } => Self::Scalar { row: row + first },
            Self::Element { row } => Self::Element { row: row + first },
            Self::BlindIsZero { row } => Self::BlindIsZero { row: row + first },
            other => other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ValueTooLong { row } => {
                write!(f, "the value in row {row} is over 65,535 bytes")
            }
            Self::ValueIsIdentity { row } => {
                write!(f, "the value in row {row} hashes to the group's identity")
            }
            Self::ColumnsDiffer { expected, found } => {
                write!(f, "columns of {expected} and {found} rows do not belong together")
            }
            Self::SecretKey => f.write_str("this is not a secret key of ristretto255"),
            Self::InfoTooLong => f.write_str("info is over 65,535 bytes"),
            Self::FingerprintBits => f.write_str("a fingerprint has 1 to 512 bits"),
            Self::Fingerprints => {
                f.write_str("these are not fingerprints of that many bits, in order")
            }
            Self::Shard => f.write_str("the shard is not one that its place asks for"),
            Self::TooManyRows { rows } => write!(f, "{rows} rows are too many at once"),
            Self::Scalar { row } => {
                write!(f, "the scalar for row {row} is zero or not canonical")
            }
            Self::Element { row } => {
                write!(f, "the element in row {row} is the identity or not canonical")
            }
            Self::FrameRows { rows } => {
                write!(f, "a frame of {rows} rows cannot be evaluated")
            }
            Self::AnswerRows { expected, found } => {
                write!(f, "a request of {expected} rows was answered with {found}")
            }
            Self::PublicKey => f.write_str("the public key is the identity or not canonical"),
            Self::Proof => f.write_str("the proof of the frame does not hold"),
            Self::BlindIsZero { row } => write!(f, "the blind of row {row} is zero"),
            Self::KeyDerivation => f.write_str("no key could be derived from this seed"),
            Self::Randomness => f.write_str("the operating system gave no randomness"),
        }
    }
}

impl std::error::Error for Error {}
