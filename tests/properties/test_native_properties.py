"""What must hold for every input: the core against Python's own sets, sorts and itself."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from psishare import _native

KEY = _native.OprfKey.generate()
SEED = _native.Seed.generate()
OTHER = _native.Seed.generate()

# Few bytes, so that equal values and common prefixes occur.
narrow = st.integers(1, 12).flatmap(
    lambda width: st.tuples(
        st.just(width),
        st.lists(st.text("ab", min_size=width, max_size=width).map(str.encode), max_size=40),
        st.lists(st.text("ab", min_size=width, max_size=width).map(str.encode), max_size=40),
    )
)
columns = st.lists(st.binary(max_size=60), max_size=30)


@given(narrow)
def test_contains_is_set_membership(case: tuple[int, list[bytes], list[bytes]]) -> None:
    width, haystack, needles = case
    found = _native.contains(
        pa.array(haystack, pa.binary(width)), pa.array(needles, pa.binary(width))
    )
    assert found.to_pylist() == [needle in set(haystack) for needle in needles]


@given(narrow)
def test_lookup_in_a_sorted_column_is_set_membership(
    case: tuple[int, list[bytes], list[bytes]],
) -> None:
    width, haystack, needles = case
    ordered = pa.array(sorted(set(haystack)), pa.binary(width))
    found = _native.lookup(ordered, pa.array(needles, pa.binary(width)))
    assert found.to_pylist() == [needle in set(haystack) for needle in needles]


@given(narrow)
def test_sort_is_stable_and_by_bytes(case: tuple[int, list[bytes], list[bytes]]) -> None:
    width, values, _ = case
    ordered, rows = _native.sort_elements(pa.array(values, pa.binary(width)))
    expected = sorted(range(len(values)), key=values.__getitem__)
    assert rows.to_pylist() == expected
    assert ordered.to_pylist() == [values[row] for row in expected]


@given(narrow)
def test_first_not_increasing_is_the_first(case: tuple[int, list[bytes], list[bytes]]) -> None:
    width, values, previous = case
    last = previous[0] if previous else None
    pairs = zip([last, *values], values, strict=False)
    expected = next((row for row, (a, b) in enumerate(pairs) if a is not None and b <= a), None)
    assert _native.first_not_increasing(pa.array(values, pa.binary(width)), last) == expected


@settings(max_examples=30, deadline=None)
@given(values=columns, bits=st.integers(1, 512))
def test_blinded_and_plain_evaluation_agree(values: list[bytes], bits: int) -> None:
    column = pa.array(values, pa.binary())
    plain = KEY.fingerprints(column, bits=bits)
    outputs = KEY.evaluate(column).to_pylist()
    size, spare = -(-bits // 8), -bits % 8
    for output, cut in zip(outputs, plain.to_pylist(), strict=True):
        wanted = int.from_bytes(output[:size], "big") >> spare << spare
        assert cut == wanted.to_bytes(size, "big")
    if not values:
        return
    indices = pa.array(range(7, 7 + len(values)), pa.uint64())
    blinded = SEED.blind(column, indices)
    evaluated, proof = KEY.blind_evaluate(blinded)
    finalized = SEED.finalize(
        column,
        indices,
        blinded,
        evaluated,
        proof=proof,
        public_key=KEY.public_key,
        bits=bits,
    )
    assert finalized == plain


@settings(max_examples=30, deadline=None)
@given(ours=columns, theirs=columns)
def test_ecdh_finds_the_intersection(ours: list[bytes], theirs: list[bytes]) -> None:
    a, b = SEED.scalar(), OTHER.scalar()
    answers = b.multiply(a.blind(pa.array(ours, pa.binary())))
    elements = a.multiply(b.blind(pa.array(theirs, pa.binary())))
    found = _native.contains(elements, answers).to_pylist()
    assert found == [value in set(theirs) for value in ours]


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.binary(max_size=60), max_size=30, unique=True))
def test_distinct_values_have_distinct_elements(values: list[bytes]) -> None:
    column = pa.array(values, pa.binary())
    for elements in (SEED.scalar().blind(column), KEY.evaluate(column)):
        assert len(set(elements.to_pylist())) == len(values)


@given(rows=st.integers(0, 3_000))
@settings(max_examples=20, deadline=None)
def test_order_is_a_permutation_of_the_seed(rows: int) -> None:
    order = SEED.order(rows).to_pylist()
    assert sorted(order) == list(range(rows))
    assert order == SEED.order(rows).to_pylist()
    if rows > 100:
        assert order != OTHER.order(rows).to_pylist()


@given(values=columns)
@settings(deadline=None)
def test_proofs_are_fresh_but_answers_are_not(values: list[bytes]) -> None:
    if not values:
        return
    blinded = SEED.blind(pa.array(values, pa.binary()), pa.array(range(len(values)), pa.uint64()))
    (first, first_proof), (second, second_proof) = (KEY.blind_evaluate(blinded) for _ in range(2))
    assert first == second
    assert first_proof != second_proof
