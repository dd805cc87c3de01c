//! Scalars times points, eight at a time, in constant time.
//!
//! A scalar is written with 64 signed digits. Each lane has a table of the multiples 1 to 8 of its
//! point, and each digit costs four doublings and one addition. An entry is chosen by looking at all
//! of them, one coordinate before each of the four doublings, so that the loads of the choice run
//! beside the multiplications of the doubling.

use core::arch::x86_64::{__m512i, _mm512_cmpeq_epi64_mask};

use zeroize::Zeroize;

use super::digits::{DIGITS, Digit8, Digits8, MAX_MAGNITUDE};
use super::field::FieldElement8;
use super::lanes::splat;
use super::point::{Cached8, Completed8, Extended8, Projective8};

/// The number of multiples in a table.
const MULTIPLES: usize = MAX_MAGNITUDE;

/// The multiples 1 to 8 of eight points, in order.
#[derive(Zeroize)]
struct Table([Cached8; MULTIPLES]);

impl Table {
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn fill(&mut self, point: &Extended8) {
        let one = point.cached();
        self.0[0] = one;
        // 2 = 1 + 1, 4 = 2 + 2 and so on by doubling, which is cheaper, and the others by adding.
        let two = point.projective().double().extended();
        self.0[1] = two.cached();
        let three = two.plus(&one).extended();
        self.0[2] = three.cached();
        let four = two.projective().double().extended();
        self.0[3] = four.cached();
        self.0[4] = four.plus(&one).extended().cached();
        let six = three.projective().double().extended();
        self.0[5] = six.cached();
        self.0[6] = six.plus(&one).extended().cached();
        self.0[7] = four.projective().double().extended().cached();
    }

    /// One coordinate of each lane's multiple of this magnitude.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn coordinate(&self, magnitude: __m512i, coordinate: usize) -> FieldElement8 {
        let mut chosen = Cached8::identity().0[coordinate];
        for (multiple, entry) in (1..).zip(&self.0) {
            let here = _mm512_cmpeq_epi64_mask(magnitude, splat(multiple));
            chosen = chosen.select(here, entry.0[coordinate]);
        }
        chosen
    }

    /// 16 times the sum so far, and the digit's multiple.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn append(&self, sum: Projective8, digit: &Digit8) -> Completed8 {
        let magnitude = digit.magnitude();
        let y_plus_x = self.coordinate(magnitude, 0);
        let sum2 = sum.double().projective();
        let y_minus_x = self.coordinate(magnitude, 1);
        let sum4 = sum2.double().projective();
        let z2 = self.coordinate(magnitude, 2);
        let sum8 = sum4.double().projective();
        let t2d = self.coordinate(magnitude, 3);
        let sum16 = sum8.double().extended();
        sum16.plus(&Cached8([y_plus_x, y_minus_x, z2, t2d]).negate_where(digit.is_negative()))
    }
}

/// A table's place, which is wiped when dropped.
pub(super) struct Workspace(Box<Table>);

impl Workspace {
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn new() -> Self {
        Self(Box::new(Table([Cached8::identity(); MULTIPLES])))
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Each lane's scalar times its point.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn multiply(
    workspace: &mut Workspace,
    point: &Extended8,
    digits: &Digits8,
) -> Extended8 {
    let table = &mut *workspace.0;
    table.fill(point);
    // The first digit is at most 2, and never negative.
    let first = digits.at(DIGITS - 1).magnitude();
    let mut sum = Cached8([
        table.coordinate(first, 0),
        table.coordinate(first, 1),
        table.coordinate(first, 2),
        table.coordinate(first, 3),
    ])
    .projective();
    for position in (1..DIGITS - 1).rev() {
        sum = table.append(sum, &digits.at(position)).projective();
    }
    table.append(sum, &digits.at(0)).extended()
}
