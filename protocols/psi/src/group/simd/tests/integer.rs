//! Integers modulo p in radix 2^8, as slow and plain as can be.

const BYTES: usize = 32;
const P: [u8; BYTES] = {
    let mut p = [0xff; BYTES];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// An integer in 0..p.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Integer([u8; BYTES]);

impl Integer {
    pub(super) const ZERO: Self = Self([0; BYTES]);

    pub(super) fn new(small: u64) -> Self {
        Self::from_limbs(&[small, 0, 0, 0, 0])
    }

    /// Σ limbᵢ 2^(51 i) modulo p, whatever the limbs.
    pub(super) fn from_limbs(limbs: &[u64; 5]) -> Self {
        let mut columns = [0; 2 * BYTES];
        for (i, limb) in limbs.iter().enumerate() {
            let shift = 51 * i;
            let wide = u128::from(*limb) << (shift % 8);
            for (k, byte) in wide.to_le_bytes().into_iter().enumerate() {
                if byte != 0 {
                    columns[shift / 8 + k] += u64::from(byte);
                }
            }
        }
        Self::reduced(columns)
    }

    pub(super) fn from_bytes(bytes: &[u8; BYTES]) -> Self {
        let mut columns = [0; 2 * BYTES];
        for (column, byte) in columns.iter_mut().zip(bytes) {
            *column = u64::from(*byte);
        }
        Self::reduced(columns)
    }

    pub(super) fn bytes(self) -> [u8; BYTES] {
        self.0
    }

    pub(super) fn is_odd(self) -> bool {
        self.0[0] % 2 == 1
    }

    pub(super) fn plus(self, other: Self) -> Self {
        let mut columns = [0; 2 * BYTES];
        for (column, (x, y)) in columns.iter_mut().zip(self.0.iter().zip(other.0)) {
            *column = u64::from(*x) + u64::from(y);
        }
        Self::reduced(columns)
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.plus(other.negated())
    }

    pub(super) fn negated(self) -> Self {
        // −x = (p − 1) x
        let mut minus_one = P;
        minus_one[0] -= 1;
        Self(minus_one).times(self)
    }

    pub(super) fn times(self, other: Self) -> Self {
        let mut columns = [0; 2 * BYTES];
        for (i, x) in self.0.iter().enumerate() {
            for (j, y) in other.0.iter().enumerate() {
                columns[i + j] += u64::from(*x) * u64::from(*y);
            }
        }
        Self::reduced(columns)
    }

    pub(super) fn inverse(self) -> Self {
        let mut exponent = P;
        exponent[0] -= 2;
        let mut power = Self::new(1);
        for bit in (0..8 * BYTES).rev() {
            power = power.times(power);
            if exponent[bit / 8] >> (bit % 8) & 1 == 1 {
                power = power.times(self);
            }
        }
        power
    }

    /// Σ columnᵢ 2^(8 i) modulo p.
    fn reduced(mut columns: [u64; 2 * BYTES]) -> Self {
        // 2^256 = 38; a few rounds bring the sum below 2^256.
        for _ in 0..4 {
            for k in 0..BYTES {
                columns[k] += 38 * columns[k + BYTES];
                columns[k + BYTES] = 0;
            }
            for k in 0..2 * BYTES - 1 {
                columns[k + 1] += columns[k] >> 8;
                columns[k] &= 0xff;
            }
        }
        assert!(columns[BYTES..].iter().all(|column| *column == 0));
        let mut bytes = [0; BYTES];
        for (byte, column) in bytes.iter_mut().zip(columns) {
            *byte = u8::try_from(column).unwrap();
        }
        // Below 2^256, so p is to be taken off twice at most.
        for _ in 0..2 {
            if bytes.iter().rev().ge(P.iter().rev()) {
                let mut borrow = 0;
                for (byte, p) in bytes.iter_mut().zip(P) {
                    let difference = i16::from(*byte) - i16::from(p) - borrow;
                    borrow = i16::from(difference < 0);
                    *byte = u8::try_from(difference + 256 * borrow).unwrap();
                }
            }
        }
        Self(bytes)
    }
}

#[test]
fn arithmetic_of_the_reference_is_sound() {
    let minus_one = Integer::ZERO.minus(Integer::new(1));
    assert_eq!(minus_one.times(minus_one), Integer::new(1));
    assert_eq!(minus_one.plus(Integer::new(1)), Integer::ZERO);
    assert_eq!(Integer::from_bytes(&P), Integer::ZERO);
    assert_eq!(Integer::from_bytes(&[0xff; BYTES]), Integer::new(37));
    assert_eq!(Integer::from_limbs(&[0, 0, 0, 0, 1 << 51]), Integer::new(19));
    assert_eq!(Integer::new(12).inverse().times(Integer::new(12)), Integer::new(1));
}
