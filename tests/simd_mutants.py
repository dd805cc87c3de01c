"""Show that the tests of the batched backend notice a wrong constant, bound, mask or sign.

Each mutant is one change of the backend's source that compiles. The tests must fail for every one of
them; a mutant that survives is printed, and the exit code is 1. Needs a machine with AVX-512 IFMA,
and a few minutes: ``python tests/simd_mutants.py [words of the mutants to run]``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

WORKSPACE = Path(__file__).resolve().parents[1] / "protocols"
SIMD = Path("psi/src/group/simd")


class Mutant(NamedTuple):
    """One change: ``before``, which a file of the backend has once, becomes ``after``."""

    file: str
    before: str
    after: str


MUTANTS = [
    # Reduction, carries and bounds.
    Mutant("field.rs", "const FOLD: u64 = 19;", "const FOLD: u64 = 18;"),
    Mutant(
        "field.rs", "[LIMB - 18, LIMB, LIMB, LIMB, LIMB]", "[LIMB - 17, LIMB, LIMB, LIMB, LIMB]"
    ),
    Mutant(
        "field.rs", "[LIMB - 19, LIMB, LIMB, LIMB, LIMB]", "[LIMB - 18, LIMB, LIMB, LIMB, LIMB]"
    ),
    Mutant("field.rs", "Self::Factor => 1,", "Self::Factor => 0,"),
    Mutant("field.rs", "Self::Bits59 => 9,", "Self::Bits59 => 8,"),
    Mutant("field.rs", "Self::Bits60 => 10,", "Self::Bits60 => 9,"),
    Mutant("field.rs", "_mm512_add_epi64(low(x1), high(x0))", "_mm512_add_epi64(x1, high(x0))"),
    Mutant("field.rs", "high(x4), splat(FOLD)", "high(x4), splat(1)"),
    Mutant("field.rs", "_mm512_mullo_epi64(q, splat(FOLD))", "q"),
    Mutant("field.rs", "let mut q = splat(FOLD);", "let mut q = splat(FOLD - 1);"),
    Mutant("field.rs", "let mut equal = !0;", "let mut equal = 0x7f;"),
    Mutant("field.rs", "_mm512_srli_epi64::<26>(l2)", "_mm512_srli_epi64::<25>(l2)"),
    Mutant("field.rs", "_mm512_slli_epi64::<39>(w3)", "_mm512_slli_epi64::<38>(w3)"),
    # Columns of products.
    Mutant("field.rs", "for column in &mut columns[2..] {", "for column in &mut columns[3..] {"),
    Mutant("field.rs", "for column in &mut columns[1..] {", "for column in &mut columns[2..] {"),
    Mutant("field.rs", "for column in &mut high {", "for column in &mut high[2..] {"),
    Mutant("field.rs", "columns[k] = _mm512_setzero_si512();", "columns[k] = high[k - 1];"),
    Mutant("field.rs", "columns[k + LIMBS], splat(FOLD)", "columns[k + LIMBS], splat(2 * FOLD)"),
    # Powers and roots.
    Mutant("field.rs", "square_times(&a200, 50), &a50", "square_times(&a200, 50), &a40"),
    Mutant("field.rs", "square_times(&[a250], 5)", "square_times(&[a250], 4)"),
    Mutant("field.rs", "square_times(&a250, 2)", "square_times(&a250, 3)"),
    Mutant("field.rs", "r.select(flipped | flipped_i,", "r.select(flipped,"),
    Mutant("field.rs", "r.select(flipped | flipped_i,", "r.select(flipped_i,"),
    Mutant("field.rs", "(correct | flipped,", "(correct,"),
    Mutant("field.rs", ".absolute());\n    }\n    answers", ");\n    }\n    answers"),
    # Constants of the curve.
    Mutant("constants.rs", "0x0003_4dca_1359_78a3", "0x0003_4dca_1359_78a2"),
    Mutant("constants.rs", "0x0002_406d_9dc5_6dff", "0x0002_406d_9dc5_6dfe"),
    Mutant("constants.rs", "0x0007_ef5e_9cbd_0c60", "0x0007_ef5e_9cbd_0c61"),
    Mutant("constants.rs", "0x0004_5607_9e7e_6498", "0x0004_5607_9e7e_6499"),
    Mutant("constants.rs", "0x0007_86c8_905c_faff", "0x0007_86c8_905c_fafe"),
    Mutant("constants.rs", "0x0000_2907_2a8b_2b3e", "0x0000_2907_2a8b_2b3f"),
    Mutant("constants.rs", "0x0005_5aaa_44ed_4d20", "0x0005_5aaa_44ed_4d21"),
    # Points.
    Mutant("point.rs", "e: sum.minus(h, Below::Bits60)", "e: sum.minus(xx, Below::Bits60)"),
    Mutant("point.rs", "zz.double().plus(xx)", "zz.plus(xx)"),
    Mutant("point.rs", "t2d.negate_where(mask)", "t2d"),
    Mutant(
        "point.rs",
        "y_plus_x.select(mask, y_minus_x),\n            y_minus_x.select(mask, y_plus_x),\n            z2,",
        "y_plus_x,\n            y_minus_x.select(mask, y_plus_x),\n            z2,",
    ),
    Mutant(
        "point.rs",
        "y_plus_x.select(mask, y_minus_x),\n            y_minus_x.select(mask, y_plus_x),\n            xy2d",
        "y_plus_x,\n            y_minus_x.select(mask, y_plus_x),\n            xy2d",
    ),
    Mutant("point.rs", "self.x.equals(&ZERO) | self.y.equals(&ZERO)", "self.x.equals(&ZERO)"),
    Mutant("point.rs", "self.x.equals(&ZERO) | self.y.equals(&ZERO)", "self.y.equals(&ZERO)"),
    Mutant("point.rs", "self.t.times_wide(xy2d)", "self.t.times_wide(y_plus_x)"),
    Mutant("point.rs", "let d = self.z.plus(self.z);", "let d = self.z.widen();"),
    Mutant("point.rs", "xy2d.negate_where(mask)", "xy2d"),
    Mutant("point.rs", "x.times(y).times(FieldElement8::constant(&D2))", "x.times(y)"),
    # Multiples of a point that is known beforehand.
    Mutant("fixed_base.rs", "_mm512_sub_epi64(magnitude, splat(1))", "magnitude"),
    Mutant("fixed_base.rs", "identity, other_than_zero, lane", "identity, 0xff, lane"),
    Mutant("fixed_base.rs", "chosen.negate_where(digit.is_negative())", "chosen"),
    Mutant("fixed_base.rs", "[1_u64, 2, 3, 4, 5, 6, 7, 8]", "[1_u64, 2, 3, 4, 5, 6, 7, 7]"),
    Mutant("fixed_base.rs", "inverse = inverse.times(point.z);", ""),
    Mutant("fixed_base.rs", "    affine.reverse();\n", ""),
    Mutant(
        "fixed_base.rs",
        "fourfold.double().projective().double().extended()",
        "fourfold.double().extended()",
    ),
    # Encoding one by one.
    Mutant("encode.rs", "z.plus(*y).carry().times(z.minus(*y).carry())", "z.plus(*y).carry()"),
    Mutant("encode.rs", "u1[k].times(u2[k].square())", "u1[k].times(u2[k])"),
    Mutant("encode.rs", "x0.select(rotate, y0.times(i))", "x0"),
    Mutant("encode.rs", "y0.select(rotate, x0.times(i))", "y0"),
    Mutant("encode.rs", "den2.select(rotate, enchanted_denominator)", "den2"),
    Mutant("encode.rs", "y.negate_where(x.times(z_inv).is_negative())", "y"),
    Mutant(
        "encode.rs",
        "den_inv.times(z0.minus(y).carry()).absolute()",
        "den_inv.times(z0.minus(y).carry())",
    ),
    # Digits and choices.
    Mutant("digits.rs", "const BIAS: u64 = 8;", "const BIAS: u64 = 7;"),
    Mutant("digits.rs", "const BYTE_BIAS: u8 = 0x88;", "const BYTE_BIAS: u8 = 0x78;"),
    Mutant("digits.rs", "carry = wide >> 8;", "carry = 0;"),
    Mutant("scalar_mul.rs", "in (1..).zip(&self.0)", "in (1..).zip(&self.0[..7])"),
    Mutant("scalar_mul.rs", "(1..DIGITS - 1).rev()", "(2..DIGITS - 1).rev()"),
    # Decoding, mapping, encoding.
    Mutant("decode.rs", "self.canonical & was_square & ", "was_square & "),
    Mutant("decode.rs", "self.canonical & was_square & ", "self.canonical & "),
    Mutant("decode.rs", "& !t.is_negative()", ""),
    Mutant("decode.rs", "_mm512_testn_epi64_mask(words[0], splat(1))", "0xff"),
    Mutant("decode.rs", "canonical &= _mm512_cmpeq", "let _ = _mm512_cmpeq"),
    Mutant("map.rs", ".absolute().negate()", ".absolute()"),
    Mutant("map.rs", "self.r.select(was_square,", "self.r.select(!was_square,"),
    Mutant("encode.rs", "efgh.select(identity, FieldElement8::constant(&ONE))", "efgh"),
    Mutant("encode.rs", "_mm512_maskz_mov_epi64(!self.identity, *word)", "*word"),
    Mutant("encode.rs", "self.h.select(rotate, self.f.times(i))", "self.h.select(rotate, self.f)"),
    Mutant(
        "encode.rs",
        "magic.times(g.times(t_inverse))).absolute()",
        "magic.times(g.times(t_inverse)))",
    ),
    # Sums of proofs, lanes and hashes.
    Mutant("weighted_sum.rs", "(1..self.0.len()).rev()", "(1..self.0.len() - 1).rev()"),
    Mutant("weighted_sum.rs", "biased < Self::MAX_MAGNITUDE", "biased <= Self::MAX_MAGNITUDE + 1"),
    Mutant("weighted_sum.rs", "0x80 } else { 0x88 }", "0x80 } else { 0x80 }"),
    Mutant("weighted_sum.rs", "0x80 } else { 0x88 }", "0x88 } else { 0x88 }"),
    Mutant("lanes.rs", "<0xdd>(lanes37, lanes37_up)", "<0x88>(lanes37, lanes37_up)"),
    Mutant("sha512.rs", "0x6c44_198c_4a47_5817", "0x6c44_198c_4a47_5816"),
    Mutant("sha512.rs", "_mm512_ror_epi64::<39>(x)", "_mm512_ror_epi64::<38>(x)"),
    Mutant(
        "sha512.rs",
        "_mm512_mask_add_epi64(*register, unfinished,",
        "_mm512_mask_add_epi64(*register, 0xff,",
    ),
]


def misplaced() -> list[Mutant]:
    """Return the mutants whose text does not stand exactly once in their file."""
    text = {mutant.file: (WORKSPACE / SIMD / mutant.file).read_text("utf-8") for mutant in MUTANTS}
    return [mutant for mutant in MUTANTS if text[mutant.file].count(mutant.before) != 1]


def main(words: list[str]) -> int:
    """Run the mutants whose file or change has one of ``words``, or all; 1 where one survives."""
    mutants = [
        mutant for mutant in MUTANTS if not words or any(word in " ".join(mutant) for word in words)
    ]
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "protocols"
        ignore = shutil.ignore_patterns("target", "fuzz")
        shutil.copytree(WORKSPACE, workspace, ignore=ignore)
        run(workspace, "no mutant", must_pass=True)
        survivors = [mutant for mutant in mutants if not is_noticed(workspace, mutant)]
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} mutants were noticed")
    for mutant in survivors:
        print(f"survived: {mutant.file}: {mutant.before!r} as {mutant.after!r}")
    return 1 if survivors else 0


def is_noticed(workspace: Path, mutant: Mutant) -> bool:
    """Whether the tests fail with this change made; the file is put back."""
    path = workspace / SIMD / mutant.file
    source = path.read_text("utf-8")
    if source.count(mutant.before) != 1:
        raise SystemExit(f"{mutant.file} has not once {mutant.before!r}: mend the list of mutants")
    path.write_text(source.replace(mutant.before, mutant.after), "utf-8")
    try:
        return run(workspace, f"{mutant.file}: {mutant.after}", must_pass=False)
    finally:
        path.write_text(source, "utf-8")


def run(workspace: Path, name: str, *, must_pass: bool) -> bool:
    """Build, then run the backend's tests; whether they failed. What does not build ends the run."""
    cargo = [
        "cargo",
        "test",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "psishare-psi",
        "--lib",
    ]
    environment = os.environ | {"RUSTFLAGS": "-A warnings"}
    build = subprocess.run([*cargo, "--no-run"], cwd=workspace, env=environment, check=False)
    if build.returncode:
        raise SystemExit(f"does not build: {name}")
    test = subprocess.run(
        [*cargo, "simd"], cwd=workspace, env=environment, check=False, capture_output=True
    )
    print(f"{'passed' if test.returncode == 0 else 'failed'}  {name}", flush=True)
    if must_pass and test.returncode:
        raise SystemExit("the tests fail without any mutant")
    return test.returncode != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
