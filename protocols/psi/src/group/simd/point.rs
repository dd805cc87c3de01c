//! Eight points of the Edwards curve −x² + y² = 1 + d x² y², a lane each.
//!
//! The formulas are those of Hisil, Wong, Carter and Dawson (2008) for a = −1; they are complete, so
//! no point is special. Coordinates of sums and doubles are linear in products that are left wide
//! and carried once.

use core::arch::x86_64::{__m512i, __mmask8};

use zeroize::Zeroize;

use super::constants::D2;
use super::field::{Below, FieldElement8, ONE, TWO, Wide8, ZERO};
use super::lanes::{LANES, splat};

/// Points as x = X/Z, y = Y/Z, xy = T/Z.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Extended8 {
    pub(super) x: FieldElement8,
    pub(super) y: FieldElement8,
    pub(super) z: FieldElement8,
    pub(super) t: FieldElement8,
}

/// Points as x = X/Z, y = Y/Z, which is all that doubling reads.
#[derive(Clone, Copy)]
pub(super) struct Projective8 {
    x: FieldElement8,
    y: FieldElement8,
    z: FieldElement8,
}

/// Points as x = E/G, y = H/F: the outcome of doubling or adding, before the products that make it
/// projective (three) or extended (four).
#[derive(Clone, Copy)]
pub(super) struct Completed8 {
    pub(super) e: FieldElement8,
    pub(super) f: FieldElement8,
    pub(super) g: FieldElement8,
    pub(super) h: FieldElement8,
}

/// Points as Y + X, Y − X, 2Z and 2dT, in order: the form in which they are added to others.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Cached8(pub(super) [FieldElement8; 4]);

/// Points of Z = 1 as y + x, y − x and 2dxy, in order: as they are added to others at the least cost.
#[derive(Clone, Copy)]
pub(super) struct Affine8(pub(super) [FieldElement8; 3]);

impl Extended8 {
    /// The identity in each lane.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn identity() -> Self {
        let (zero, one) = (FieldElement8::constant(&ZERO), FieldElement8::constant(&ONE));
        Self { x: zero, y: one, z: one, t: zero }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn projective(&self) -> Projective8 {
        Projective8 { x: self.x, y: self.y, z: self.z }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn cached(&self) -> Cached8 {
        Cached8([
            self.y.plus(self.x).carry(),
            self.y.minus(self.x).carry(),
            self.z.plus(self.z).carry(),
            self.t.times(FieldElement8::constant(&D2)),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn plus(&self, other: &Cached8) -> Completed8 {
        let [y_plus_x, y_minus_x, z2, t2d] = other.0;
        let a = self.y.minus(self.x).carry().times_wide(y_minus_x);
        let b = self.y.plus(self.x).carry().times_wide(y_plus_x);
        let c = self.t.times_wide(t2d);
        let d = self.z.times_wide(z2);
        Completed8 {
            e: b.minus(a, Below::Bits59).carry(),
            f: d.minus(c, Below::Bits59).carry(),
            g: d.plus(c).carry(),
            h: b.plus(a).carry(),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn plus_affine(&self, other: &Affine8) -> Completed8 {
        let [y_plus_x, y_minus_x, xy2d] = other.0;
        let a = self.y.minus(self.x).carry().times_wide(y_minus_x);
        let b = self.y.plus(self.x).carry().times_wide(y_plus_x);
        let c = self.t.times_wide(xy2d);
        let d = self.z.plus(self.z);
        Completed8 {
            e: b.minus(a, Below::Bits59).carry(),
            f: d.minus(c, Below::Bits59).carry(),
            g: d.plus(c).carry(),
            h: b.plus(a).carry(),
        }
    }

    /// The points as they are added, given 1/Z.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn affine(&self, z_inverse: FieldElement8) -> Affine8 {
        let (x, y) = (self.x.times(z_inverse), self.y.times(z_inverse));
        let xy2d = x.times(y).times(FieldElement8::constant(&D2));
        Affine8([y.plus(x).carry(), y.minus(x).carry(), xy2d])
    }

    /// Points by their limbs, coordinate after coordinate; limbs after the twentieth are not read.
    ///
    /// # Invariant
    /// The limbs are those of points, in any order of lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn from_limbs(limbs: &[__m512i; 3 * LANES]) -> Self {
        let coordinate = |k: usize| {
            FieldElement8::from_limbs([
                limbs[k],
                limbs[k + 1],
                limbs[k + 2],
                limbs[k + 3],
                limbs[k + 4],
            ])
        };
        Self { x: coordinate(0), y: coordinate(5), z: coordinate(10), t: coordinate(15) }
    }

    /// The limbs, coordinate after coordinate, and four registers of zeros.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn to_limbs(self) -> [__m512i; 3 * LANES] {
        let mut limbs = [splat(0); 3 * LANES];
        for (k, coordinate) in [self.x, self.y, self.z, self.t].into_iter().enumerate() {
            limbs[5 * k..5 * k + 5].copy_from_slice(&coordinate.to_limbs());
        }
        limbs
    }

    /// The sum of the points of all lanes, in each lane.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn sum_of_lanes(self) -> Self {
        let fours = self.plus(&self.rotated::<4>().cached()).extended();
        let pairs = fours.plus(&fours.rotated::<2>().cached()).extended();
        pairs.plus(&pairs.rotated::<1>().cached()).extended()
    }

    /// The points, moved down by so many lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn rotated<const BY: i32>(self) -> Self {
        Self {
            x: self.x.rotated::<BY>(),
            y: self.y.rotated::<BY>(),
            z: self.z.rotated::<BY>(),
            t: self.t.rotated::<BY>(),
        }
    }

    /// Make the point of one lane the identity.
    #[cfg(test)]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn clear_lane(&mut self, lane: usize) {
        let identity = Self::identity();
        self.x = self.x.select(1 << lane, identity.x);
        self.y = self.y.select(1 << lane, identity.y);
        self.z = self.z.select(1 << lane, identity.z);
        self.t = self.t.select(1 << lane, identity.t);
    }

    /// The lanes whose point is the identity of ristretto255: those of x = 0 or y = 0.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn is_identity(&self) -> __mmask8 {
        self.x.equals(&ZERO) | self.y.equals(&ZERO)
    }
}

impl Projective8 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn double(&self) -> Completed8 {
        let xx = self.x.square_wide();
        let yy = self.y.square_wide();
        let zz = self.z.square_wide();
        // H = X² + Y², E = (X + Y)² − H, G = Y² − X², F = 2Z² − G
        let sum = self.x.plus(self.y).carry().square_wide();
        let h: Wide8 = xx.plus(yy);
        Completed8 {
            e: sum.minus(h, Below::Bits60).carry(),
            f: zz.double().plus(xx).minus(yy, Below::Bits59).carry(),
            g: yy.minus(xx, Below::Bits59).carry(),
            h: h.carry(),
        }
    }
}

impl Completed8 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn projective(&self) -> Projective8 {
        Projective8 { x: self.e.times(self.f), y: self.g.times(self.h), z: self.f.times(self.g) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn extended(&self) -> Extended8 {
        Extended8 {
            x: self.e.times(self.f),
            y: self.g.times(self.h),
            z: self.f.times(self.g),
            t: self.e.times(self.h),
        }
    }
}

impl Affine8 {
    /// The identity in each lane.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn identity() -> Self {
        let one = FieldElement8::constant(&ONE);
        Self([one, one, FieldElement8::constant(&ZERO)])
    }

    /// The points, negated in the lanes of `mask`: −(x, y) = (−x, y).
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn negate_where(&self, mask: __mmask8) -> Self {
        let [y_plus_x, y_minus_x, xy2d] = self.0;
        Self([
            y_plus_x.select(mask, y_minus_x),
            y_minus_x.select(mask, y_plus_x),
            xy2d.negate_where(mask),
        ])
    }
}

impl Cached8 {
    /// The identity in each lane.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn identity() -> Self {
        let one = FieldElement8::constant(&ONE);
        Self([one, one, FieldElement8::constant(&TWO), FieldElement8::constant(&ZERO)])
    }

    /// The points, negated in the lanes of `mask`: −(x, y) = (−x, y).
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn negate_where(&self, mask: __mmask8) -> Self {
        let [y_plus_x, y_minus_x, z2, t2d] = self.0;
        Self([
            y_plus_x.select(mask, y_minus_x),
            y_minus_x.select(mask, y_plus_x),
            z2,
            t2d.negate_where(mask),
        ])
    }

    /// The points, of which all coordinates are doubled.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn projective(&self) -> Projective8 {
        let [y_plus_x, y_minus_x, z2, _] = self.0;
        Projective8 {
            x: y_plus_x.minus(y_minus_x).carry(),
            y: y_plus_x.plus(y_minus_x).carry(),
            z: z2,
        }
    }
}
