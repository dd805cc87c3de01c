//! Secret scalars and secret bytes: zeroized when dropped, never printed.

use std::fmt;
use std::ops::{Deref, DerefMut};

use curve25519_dalek::Scalar;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::Error;

/// A secret scalar other than zero.
///
/// # Invariant
/// 1 ≤ scalar < ℓ, the order of the group.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct SecretScalar(Scalar);

impl SecretScalar {
    /// Keep `scalar`, or return `None` where it is zero.
    pub(crate) fn new(scalar: Scalar) -> Option<Self> {
        // Whether a scalar is zero may show: it decides between working and failing.
        (scalar != Scalar::ZERO).then_some(Self(scalar))
    }

    /// RFC 9497 section 4.1, `RandomScalar`: 64 random bytes, reduced, so that the bias is 2^-252.
    pub(crate) fn random() -> Result<Self, Error> {
        let mut wide = Zeroizing::new([0; 64]);
        fill_random(&mut *wide)?;
        Self::new(Scalar::from_bytes_mod_order_wide(&wide)).ok_or(Error::Randomness)
    }

    /// Read a canonical encoding of a scalar other than zero.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 32] = bytes.try_into().ok()?;
        Option::<Scalar>::from(Scalar::from_canonical_bytes(bytes)).and_then(Self::new)
    }

    pub(crate) fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    pub(crate) fn expose(&self) -> &Scalar {
        &self.0
    }
}

impl fmt::Debug for SecretScalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// Secret strings of one length, a row each.
///
/// They are wiped as one run of bytes, which for many rows is far quicker than a byte at a time, as
/// `Zeroizing` would.
pub(crate) struct SecretStrings<const N: usize>(Vec<[u8; N]>);

impl<const N: usize> SecretStrings<N> {
    /// So many rows of zeros.
    pub(crate) fn zeroed(rows: usize) -> Self {
        Self(vec![[0; N]; rows])
    }
}

impl<const N: usize> Deref for SecretStrings<N> {
    type Target = [[u8; N]];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<const N: usize> DerefMut for SecretStrings<N> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<const N: usize> Drop for SecretStrings<N> {
    fn drop(&mut self) {
        self.0.as_flattened_mut().zeroize();
    }
}

/// Fill `bytes` from the operating system.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|_| Error::Randomness)
}
