"""A peer's bytes against the Rust core: refused with a row, never a crash, never a wrong answer."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psishare import _native
from psishare.errors import ProtocolError

ORDER = 2**252 + 27742317777372353535851937790883648493
PRIME = 2**255 - 19
BAD_ELEMENTS = {
    "identity": bytes(32),
    "all ones": b"\xff" * 32,
    "the prime": PRIME.to_bytes(32, "little"),
    "one above the prime": (PRIME + 1).to_bytes(32, "little"),
    "negative": (1).to_bytes(32, "little"),
    "minus one": (PRIME - 1).to_bytes(32, "little"),
}
ROWS = 5


class Exchange(NamedTuple):
    values: pa.Array
    indices: pa.UInt64Array
    seed: _native.Seed
    key: _native.OprfKey
    blinded: pa.FixedSizeBinaryArray
    evaluated: pa.FixedSizeBinaryArray
    proof: bytes

    def finalize(
        self,
        *,
        evaluated: list[bytes] | None = None,
        proof: bytes | None = None,
        public_key: bytes | None = None,
    ) -> pa.FixedSizeBinaryArray:
        answer = self.evaluated if evaluated is None else pa.array(evaluated, pa.binary(32))
        return self.seed.finalize(
            self.values,
            self.indices,
            self.blinded,
            answer,
            proof=self.proof if proof is None else proof,
            public_key=self.key.public_key if public_key is None else public_key,
            bits=80,
        )


def honest() -> Exchange:
    values = pa.array([b"value %d" % row for row in range(ROWS)], pa.binary())
    indices = pa.array(range(ROWS), pa.uint64())
    seed, key = _native.Seed.generate(), _native.OprfKey.generate()
    blinded = seed.blind(values, indices)
    evaluated, proof = key.blind_evaluate(blinded)
    return Exchange(values, indices, seed, key, blinded, evaluated, proof)


EXCHANGE = honest()


@pytest.mark.parametrize("bad", BAD_ELEMENTS)
@pytest.mark.parametrize("row", [0, ROWS - 1])
def test_bad_element_of_a_request_is_named(bad: str, row: int) -> None:
    frame = EXCHANGE.blinded.to_pylist()
    frame[row] = BAD_ELEMENTS[bad]
    elements = pa.array(frame, pa.binary(32))
    for answer in (EXCHANGE.key.blind_evaluate, EXCHANGE.seed.scalar().multiply):
        with pytest.raises(ProtocolError, match=f"row {row} ") as refused:
            answer(elements)
        assert refused.value.reason == "element_invalid"


@pytest.mark.parametrize("bad", BAD_ELEMENTS)
def test_bad_element_of_an_answer_is_named(bad: str) -> None:
    evaluated = EXCHANGE.evaluated.to_pylist()
    evaluated[3] = BAD_ELEMENTS[bad]
    with pytest.raises(ProtocolError, match="row 3 "):
        EXCHANGE.finalize(evaluated=evaluated)


@pytest.mark.parametrize("bad", [*BAD_ELEMENTS.values(), bytes(31), b""])
def test_bad_public_key_is_refused(bad: bytes) -> None:
    with pytest.raises(ProtocolError) as refused:
        EXCHANGE.finalize(public_key=bad)
    assert refused.value.reason == "proof_invalid"


@pytest.mark.parametrize("rows", [0, 65_536])
def test_frame_that_no_proof_can_cover_is_refused(rows: int) -> None:
    element = EXCHANGE.blinded[0].as_py()
    with pytest.raises(ProtocolError, match=f"frame of {rows} rows"):
        EXCHANGE.key.blind_evaluate(pa.array([element] * rows, pa.binary(32)))


def test_proof_of_another_key_is_refused() -> None:
    other = _native.OprfKey.generate()
    evaluated, proof = other.blind_evaluate(EXCHANGE.blinded)
    assert EXCHANGE.finalize(
        evaluated=evaluated.to_pylist(), proof=proof, public_key=other.public_key
    )
    with pytest.raises(ProtocolError):
        EXCHANGE.finalize(evaluated=evaluated.to_pylist(), proof=proof)
    with pytest.raises(ProtocolError):
        EXCHANGE.finalize(proof=proof)


def test_proof_of_another_frame_is_refused() -> None:
    _, proof = EXCHANGE.key.blind_evaluate(EXCHANGE.blinded.slice(1))
    with pytest.raises(ProtocolError):
        EXCHANGE.finalize(proof=proof)


def test_a_proof_that_does_not_bind_its_whole_frame_is_refused() -> None:
    nonce = (12345).to_bytes(32, "little")
    proof = _native.prove_rfc9497(EXCHANGE.key, EXCHANGE.blinded, EXCHANGE.evaluated, nonce)
    with pytest.raises(ProtocolError) as refused:
        EXCHANGE.finalize(proof=proof)
    assert refused.value.reason == "proof_invalid"


def test_proof_for_an_answer_scaled_by_an_own_factor_is_refused() -> None:
    doubled = _native.Seed.generate().scalar().multiply(EXCHANGE.evaluated)
    proof = _native.prove_with(
        EXCHANGE.key, EXCHANGE.blinded, doubled, (12345).to_bytes(32, "little")
    )
    with pytest.raises(ProtocolError):
        EXCHANGE.finalize(evaluated=doubled.to_pylist(), proof=proof)


@pytest.mark.parametrize("first", [0, 32])
def test_scalar_that_is_not_canonical_makes_no_proof(first: int) -> None:
    proof = bytearray(EXCHANGE.proof)
    # The same scalar plus the order is the same number modulo the order.
    same = int.from_bytes(proof[first : first + 32], "little") + ORDER
    proof[first : first + 32] = same.to_bytes(32, "little")
    with pytest.raises(ProtocolError):
        EXCHANGE.finalize(proof=bytes(proof))


@settings(max_examples=60, deadline=None)
@given(proof=st.binary(max_size=130))
def test_no_bytes_pass_for_a_proof(proof: bytes) -> None:
    with pytest.raises(ProtocolError):
        EXCHANGE.finalize(proof=proof)


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 64 * 8 - 1))
def test_no_bit_of_a_proof_may_change(position: int) -> None:
    proof = bytearray(EXCHANGE.proof)
    proof[position // 8] ^= 1 << position % 8
    with pytest.raises(ProtocolError):
        EXCHANGE.finalize(proof=bytes(proof))


@settings(max_examples=60, deadline=None)
@given(order=st.permutations(range(ROWS)))
def test_no_answer_in_another_order_passes(order: list[int]) -> None:
    evaluated = EXCHANGE.evaluated.to_pylist()
    answer = [evaluated[row] for row in order]
    if order == list(range(ROWS)):
        assert EXCHANGE.finalize(evaluated=answer) == EXCHANGE.finalize()
    else:
        with pytest.raises(ProtocolError):
            EXCHANGE.finalize(evaluated=answer)


@settings(max_examples=100, deadline=None)
@given(elements=st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=20))
def test_any_bytes_are_elements_or_refused(elements: list[bytes]) -> None:
    canonical = [_native.is_canonical_element(element) for element in elements]
    good = [ok and element != bytes(32) for ok, element in zip(canonical, elements, strict=True)]
    column = pa.array(elements, pa.binary(32))
    scalar = EXCHANGE.seed.scalar()
    if all(good):
        assert len(scalar.multiply(column)) == len(elements)
    else:
        with pytest.raises(ProtocolError, match=f"row {good.index(False)} "):
            scalar.multiply(column)
