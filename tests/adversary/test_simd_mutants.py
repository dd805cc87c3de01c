"""The list of mutants stays applicable; running them is a campaign of its own."""

from __future__ import annotations

from simd_mutants import MUTANTS, misplaced


def test_every_mutant_is_one_change_of_the_source() -> None:
    assert misplaced() == []
    assert all(mutant.before != mutant.after for mutant in MUTANTS)
