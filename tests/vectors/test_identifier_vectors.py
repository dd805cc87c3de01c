"""Every kind's published rules, case by case (psishare/identifiers/vectors)."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from psishare.identifiers import KINDS, Reason, canonicalise
from psishare.identifiers.ruleset import Vector, vectors

CASES = [(name, vector) for name in KINDS for vector in vectors(name)]
IDS = [f"{name}-{index}" for index, (name, _) in enumerate(CASES)]


@pytest.mark.parametrize(("name", "vector"), CASES, ids=IDS)
def test_vector_has_its_canonical_form_or_reason(name: str, vector: Vector) -> None:
    canonical = canonicalise(pa.array([vector.input], pa.string()), name, region=vector.region)
    if vector.reason is None:
        assert vector.canonical is not None
        expected = b"\x00".join([name.encode(), b"", vector.canonical.encode()])
        assert canonical.values.to_pylist() == [expected]
        assert len(canonical.rejects) == 0
    else:
        assert canonical.values.to_pylist() == [None]
        assert canonical.rejects.rows.to_pylist() == [0]
        assert canonical.rejects.reasons.to_pylist() == [vector.reason]


@pytest.mark.parametrize(("name", "vector"), CASES, ids=IDS)
def test_library_alone_agrees_with_vector(name: str, vector: Vector) -> None:
    """The vectors hold for the library's path too, where buffers would have settled the value."""
    if vector.canonical is not None:
        assert KINDS[name].canonical(vector.canonical, None) == vector.canonical


@pytest.mark.parametrize("name", list(KINDS))
def test_each_kind_has_twenty_right_and_twenty_wrong_vectors(name: str) -> None:
    right = [vector for vector in vectors(name) if vector.canonical is not None]
    wrong = [vector for vector in vectors(name) if vector.canonical is None]
    assert len(right) >= 20
    assert len(wrong) >= 20
    assert all(vector.rule for vector in vectors(name))
    assert all(vector.reason in set(Reason) for vector in wrong)


@pytest.mark.parametrize("name", list(KINDS))
def test_whole_vector_file_as_one_column_gives_the_same(name: str) -> None:
    cases = [vector for vector in vectors(name) if vector.region is None]
    column = pa.chunked_array(
        [
            pa.array([vector.input for vector in cases[:7]], pa.string()),
            pa.array([vector.input for vector in cases[7:]], pa.string()),
        ]
    )
    canonical = canonicalise(column, name)
    prefix = f"{name}\x00\x00"
    assert canonical.values.to_pylist() == [
        None if vector.canonical is None else (prefix + vector.canonical).encode()
        for vector in cases
    ]
    rejected = [row for row, vector in enumerate(cases) if vector.canonical is None]
    assert canonical.rejects.rows.to_pylist() == rejected
    assert canonical.rejects.reasons.to_pylist() == [cases[row].reason for row in rejected]


def test_vectors_are_one_source_in_package_and_protocols() -> None:
    published = Path(__file__).parents[2] / "protocols" / "vectors" / "identifiers"
    assert {file.stem for file in published.glob("*.json")} == set(KINDS)
