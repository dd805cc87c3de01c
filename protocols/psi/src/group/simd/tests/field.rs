//! Each operation of the field against plain integers, at the extremes of its invariant.

use core::arch::x86_64::__m512i;

use super::integer::Integer;
use super::{noise, on_ifma};
use crate::group::simd::constants::{
    D, D_MINUS_ONE_SQ, D2, INVSQRT_A_MINUS_D, ONE_MINUS_D_SQ, SQRT_AD_MINUS_ONE, SQRT_M1,
};
use crate::group::simd::field::{
    Below, FieldElement8, MINUS_ONE, ONE, Wide8, ZERO, invert, sqrt_ratio, strings_of, words_of,
};
use crate::group::simd::lanes::{LANES, load, splat, store, transpose};

type Limbs = [u64; 5];

/// The largest limb of a factor.
const MAX_LIMB: u64 = (1 << 51) + (1 << 17) - 1;
const LIMB_MASK: u64 = (1 << 51) - 1;

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn registers(lanes: &[Limbs; LANES]) -> [__m512i; 5] {
    let mut registers = [splat(0); 5];
    for (i, register) in registers.iter_mut().enumerate() {
        *register = load(&lanes.map(|limbs| limbs[i]));
    }
    registers
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn factor(lanes: &[Limbs; LANES]) -> FieldElement8 {
    FieldElement8::from_limbs(registers(lanes))
}

/// The integers in the lanes of a factor, whose invariant is checked.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn integers(element: FieldElement8) -> [Integer; LANES] {
    let registers = element.to_limbs().map(|register| store(register));
    core::array::from_fn(|lane| {
        let limbs = registers.map(|register| register[lane]);
        assert!(limbs.iter().all(|limb| *limb <= MAX_LIMB), "a factor keeps its invariant");
        Integer::from_limbs(&limbs)
    })
}

/// Wide limbs, all below a bound.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn check_bound(wide: Wide8, bound: u64) {
    for register in wide.to_limbs() {
        assert!(store(register).iter().all(|limb| *limb < bound));
    }
}

/// Operands at the edges and between: every limb from a few, then canonical extremes, then noise.
fn operands() -> Vec<[Limbs; LANES]> {
    let mut operands = Vec::new();
    let choices = [0, 1, LIMB_MASK, LIMB_MASK + 1, MAX_LIMB];
    for code in 0..5_usize.pow(5) {
        let divisors = [1, 5, 25, 125, 625];
        operands.push(divisors.map(|divisor| choices[code / divisor % 5]));
    }
    let p = [LIMB_MASK - 18, LIMB_MASK, LIMB_MASK, LIMB_MASK, LIMB_MASK];
    for offset in 0..=40 {
        let mut limbs = p;
        limbs[0] = limbs[0] + 20 - offset;
        operands.push(limbs);
        operands.push([offset, 0, 0, 0, 0]);
    }
    for index in 0..400 {
        let bytes = noise("field", index);
        let (words, _) = bytes.as_chunks();
        operands.push(core::array::from_fn(|i| u64::from_le_bytes(words[i]) & LIMB_MASK));
    }
    while operands.len() % LANES != 0 {
        operands.push([MAX_LIMB; 5]);
    }
    let (groups, _) = operands.as_chunks();
    groups.to_vec()
}

/// Each group of operands beside another, in an order that meets many.
fn pairs() -> Vec<([Limbs; LANES], [Limbs; LANES])> {
    let operands = operands();
    let mut pairs = Vec::new();
    for (i, x) in operands.iter().enumerate() {
        for step in [0, 1, 7, 101] {
            let mut y = operands[(i * 31 + step * 17) % operands.len()];
            y.rotate_left(step % LANES);
            pairs.push((*x, y));
        }
    }
    pairs
}

fn each(x: &[Limbs; LANES], operation: impl Fn(Integer) -> Integer) -> [Integer; LANES] {
    x.map(|limbs| operation(Integer::from_limbs(&limbs)))
}

fn both(
    x: &[Limbs; LANES],
    y: &[Limbs; LANES],
    operation: impl Fn(Integer, Integer) -> Integer,
) -> [Integer; LANES] {
    core::array::from_fn(|lane| {
        operation(Integer::from_limbs(&x[lane]), Integer::from_limbs(&y[lane]))
    })
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn check_products() {
    for (x, y) in pairs() {
        let (a, b) = (factor(&x), factor(&y));
        assert_eq!(integers(a.times(b)), both(&x, &y, Integer::times));
        check_bound(a.times_wide(b), 1 << 59);
    }
    for x in operands() {
        let a = factor(&x);
        assert_eq!(integers(a.square()), each(&x, |x| x.times(x)));
        check_bound(a.square_wide(), 1 << 59);
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn check_sums() {
    for (x, y) in pairs() {
        let (a, b) = (factor(&x), factor(&y));
        assert_eq!(integers(a.plus(b).carry()), both(&x, &y, Integer::plus));
        assert_eq!(integers(a.minus(b).carry()), both(&x, &y, Integer::minus));
        check_bound(a.plus(b), 1 << 53);
        check_bound(a.minus(b), 1 << 54);
        // Sums and differences of products, as points use them, with the limbs of products at their
        // bound.
        let top = Wide8::from_limbs([splat((1 << 59) - 1); 5]);
        let most = Integer::from_limbs(&[(1 << 59) - 1; 5]);
        let product = a.times_wide(b);
        let difference = product.minus(top, Below::Bits59);
        assert_eq!(integers(difference.carry()), both(&x, &y, |x, y| x.times(y).minus(most)));
        let difference = product.minus(top.plus(top), Below::Bits60);
        check_bound(difference, 1 << 62);
        assert_eq!(
            integers(difference.carry()),
            both(&x, &y, |x, y| x.times(y).minus(most).minus(most))
        );
        assert_eq!(
            integers(top.double().plus(top).minus(product, Below::Bits59).carry()),
            both(&x, &y, |x, y| most.plus(most).plus(most).minus(x.times(y)))
        );
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn check_carries() {
    for x in operands() {
        for factor in [1, 1 << 8, 1 << 11] {
            let limbs = x.map(|limbs| limbs.map(|limb| limb * factor));
            let wide = Wide8::from_limbs(registers(&limbs));
            assert_eq!(integers(wide.carry()), each(&limbs, |x| x));
        }
    }
    let limbs = [[(1 << 63) - 1; 5]; LANES];
    assert_eq!(integers(Wide8::from_limbs(registers(&limbs)).carry()), each(&limbs, |x| x));
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn check_signs() {
    for x in operands() {
        let a = factor(&x);
        let canonical = each(&x, |x| x);
        assert_eq!(strings_of(&a.to_words()), canonical.map(Integer::bytes));
        assert_eq!(integers(a.negate()), canonical.map(Integer::negated));
        let negative = a.is_negative();
        let zero = a.equals(&ZERO);
        let one = a.equals(&ONE);
        let minus_one = a.equals(&MINUS_ONE);
        let absolute = integers(a.absolute());
        for lane in 0..LANES {
            let x = canonical[lane];
            assert_eq!(negative >> lane & 1 == 1, x.is_odd());
            assert_eq!(zero >> lane & 1 == 1, x == Integer::ZERO);
            assert_eq!(one >> lane & 1 == 1, x == Integer::new(1));
            assert_eq!(minus_one >> lane & 1 == 1, x == Integer::new(1).negated());
            assert_eq!(absolute[lane], if x.is_odd() { x.negated() } else { x });
        }
        let other = FieldElement8::constant(&D);
        let selected = integers(a.select(0b1010_0110, other));
        for lane in 0..LANES {
            let expected = if 0b1010_0110 >> lane & 1 == 1 {
                Integer::from_limbs(&D)
            } else {
                canonical[lane]
            };
            assert_eq!(selected[lane], expected);
        }
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn check_strings() {
    for index in 0..200 {
        let strings = core::array::from_fn(|lane| {
            let mut string: [u8; 32] = noise("strings", index)[lane..lane + 32].try_into().unwrap();
            if index % 3 == 0 {
                string[1..].fill(0xff);
            }
            string
        });
        let words = words_of(&strings);
        assert_eq!(strings_of(&words), strings);
        let expected = strings.map(|mut string| {
            string[31] &= 0x7f;
            Integer::from_bytes(&string)
        });
        assert_eq!(integers(FieldElement8::from_words(&words)), expected);
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn check_inverses() {
    for x in operands().into_iter().step_by(5) {
        assert_eq!(integers(invert(factor(&x))), each(&x, Integer::inverse));
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn check_roots() {
    let i = Integer::from_limbs(&SQRT_M1);
    let operands = operands();
    for (index, x) in operands.iter().enumerate() {
        let y = &operands[(index * 13 + 5) % operands.len()];
        let (u, v) = ([factor(x), factor(y)], [factor(y), factor(y)]);
        let answers = sqrt_ratio(&u, &v);
        for (k, (was_square, root)) in answers.into_iter().enumerate() {
            let (u, v, roots) = (integers(u[k]), integers(v[k]), integers(root));
            for lane in 0..LANES {
                let (u, v, root) = (u[lane], v[lane], roots[lane]);
                let was_square = was_square >> lane & 1 == 1;
                assert!(!root.is_odd());
                if v == Integer::ZERO {
                    // RFC 9496: (TRUE, 0) if u is 0, else (FALSE, 0)
                    assert_eq!((was_square, root), (u == Integer::ZERO, Integer::ZERO));
                    continue;
                }
                // Of u/v and iu/v, exactly one is a square, unless both are zero.
                let square = root.times(root).times(v);
                assert_eq!(square, if was_square { u } else { u.times(i) });
                if k == 1 {
                    assert!(was_square && square == u, "y/y is a square");
                }
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn check_transposition() {
    let rows: [[u64; LANES]; LANES] =
        core::array::from_fn(|i| core::array::from_fn(|j| (10 * i + j) as u64));
    let mut registers = [splat(0); LANES];
    for (register, row) in registers.iter_mut().zip(&rows) {
        *register = load(row);
    }
    for (j, column) in transpose(&registers).into_iter().enumerate() {
        assert_eq!(store(column), rows.map(|row| row[j]));
    }
    let rotated = factor(&[[1; 5], [2; 5], [3; 5], [4; 5], [5; 5], [6; 5], [7; 5], [8; 5]])
        .rotated::<2>()
        .to_limbs();
    for limb in rotated {
        assert_eq!(store(limb), [3, 4, 5, 6, 7, 8, 1, 2]);
    }
}

#[test]
fn products_are_those_of_integers() {
    on_ifma(check_products);
}

#[test]
fn sums_are_those_of_integers() {
    on_ifma(check_sums);
}

#[test]
fn carrying_keeps_the_element() {
    on_ifma(check_carries);
}

#[test]
fn signs_and_encodings_are_canonical() {
    on_ifma(check_signs);
}

#[test]
fn strings_are_read_without_their_highest_bit() {
    on_ifma(check_strings);
}

#[test]
fn inverses_are_those_of_integers() {
    on_ifma(check_inverses);
}

#[test]
fn square_roots_are_as_rfc_9496_defines_them() {
    on_ifma(check_roots);
}

#[test]
fn lanes_are_moved_as_named() {
    on_ifma(check_transposition);
}

#[test]
fn constants_are_those_of_rfc_9496() {
    let [d, d2, i, sqrt_ad_minus_one, invsqrt_a_minus_d, one_minus_d_sq, d_minus_one_sq] =
        [D, D2, SQRT_M1, SQRT_AD_MINUS_ONE, INVSQRT_A_MINUS_D, ONE_MINUS_D_SQ, D_MINUS_ONE_SQ]
            .map(|limbs| Integer::from_limbs(&limbs));
    let one = Integer::new(1);
    // d = −121665/121666, a = −1
    assert_eq!(d.times(Integer::new(121_666)), Integer::new(121_665).negated());
    assert_eq!(d2, d.plus(d));
    assert_eq!(i.times(i), one.negated());
    assert_eq!(sqrt_ad_minus_one.times(sqrt_ad_minus_one), d.negated().minus(one));
    let a_minus_d = one.negated().minus(d);
    assert_eq!(invsqrt_a_minus_d.times(invsqrt_a_minus_d).times(a_minus_d), one);
    assert_eq!(one_minus_d_sq, one.minus(d.times(d)));
    assert_eq!(d_minus_one_sq, d.minus(one).times(d.minus(one)));
    // Of two roots, RFC 9496 takes these.
    assert!(!i.is_odd() && sqrt_ad_minus_one.is_odd() && !invsqrt_a_minus_d.is_odd());
    for limbs in [D, D2, SQRT_M1, SQRT_AD_MINUS_ONE, INVSQRT_A_MINUS_D] {
        assert!(limbs.iter().all(|limb| *limb <= LIMB_MASK));
    }
}
