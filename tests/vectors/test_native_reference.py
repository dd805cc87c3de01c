"""The Rust core against the reference in Python, on random inputs."""

from __future__ import annotations

import secrets

import pyarrow as pa
import pytest
import reference_voprf as reference

from psishare import _native


def random_values(rows: int) -> list[bytes]:
    return [secrets.token_bytes(secrets.randbelow(80)) for _ in range(rows)]


def random_scalar() -> int:
    return 1 + secrets.randbelow(reference.ORDER - 1)


def little(scalar: int) -> bytes:
    return scalar.to_bytes(32, "little")


def binary(values: list[bytes]) -> pa.Array:
    return pa.array(values, pa.binary())


def elements(values: list[bytes]) -> pa.FixedSizeBinaryArray:
    return pa.array(values, pa.binary(32))


EDGE_SCALARS = [1, 2, reference.ORDER // 2, reference.ORDER - 2, reference.ORDER - 1]


def test_reference_knows_the_generator() -> None:
    assert reference.encode(reference.GENERATOR) == reference.encode(
        reference.multiply(1, reference.GENERATOR)
    )
    assert reference.encode(reference.multiply(reference.ORDER, reference.GENERATOR)) == bytes(32)


def test_one_way_map_agrees() -> None:
    edges = [bytes(64), b"\xff" * 64, bytes(32) + b"\xff" * 32, b"\x01" + bytes(63)]
    for uniform in [*edges, *(secrets.token_bytes(64) for _ in range(40))]:
        assert _native.one_way_map(uniform) == reference.encode(reference.one_way_map(uniform))


def test_decoding_agrees() -> None:
    small = [value.to_bytes(32, "little") for value in range(40)]
    near_the_prime = [(reference.P + offset).to_bytes(32, "little") for offset in range(-20, 20)]
    random = [bytes([*secrets.token_bytes(31), secrets.randbelow(128)]) for _ in range(60)]
    for encoding in [*small, *near_the_prime, *random, b"\xff" * 32]:
        agreed = reference.decode(encoding) is not None
        assert _native.is_canonical_element(encoding) is agreed


@pytest.mark.parametrize("key", [*EDGE_SCALARS, random_scalar()], ids=range(6))
def test_evaluation_agrees(key: int) -> None:
    values = random_values(3)
    native = _native.OprfKey.from_secret_bytes(little(key))
    public_key = reference.encode(reference.multiply(key, reference.GENERATOR))
    assert native.public_key == public_key
    expected = [reference.evaluate(value, key, mode=1) for value in values]
    assert native.evaluate(binary(values)).to_pylist() == expected
    cut = [reference.fingerprint(output, 83) for output in expected]
    assert native.fingerprints(binary(values), bits=83).to_pylist() == cut


@pytest.mark.parametrize("scalar", [*EDGE_SCALARS, random_scalar()], ids=range(6))
def test_blinding_agrees(scalar: int) -> None:
    values = random_values(2)
    expected = [reference.blind(value, scalar, mode=1) for value in values]
    assert _native.blind_rfc9497(binary(values), little(scalar) * 2).to_pylist() == expected
    added = [reference.blinded_element(value, scalar) for value in values]
    assert _native.blind_with(binary(values), little(scalar) * 2).to_pylist() == added


def test_whole_exchange_agrees() -> None:
    values, seed, key = random_values(5), secrets.token_bytes(32), random_scalar()
    native_seed = _native.Seed.from_secret_bytes(seed)
    native_key = _native.OprfKey.from_secret_bytes(little(key))

    order = reference.order(seed, len(values))
    assert native_seed.order(len(values)).to_pylist() == order
    sent = [values[index] for index in order]
    blinds = [reference.derived_blind(seed, index) for index in order]
    blinded = [
        reference.blinded_element(value, blind) for value, blind in zip(sent, blinds, strict=True)
    ]
    indices = pa.array(order, pa.uint64())
    native_blinded = native_seed.blind(binary(sent), indices)
    assert native_blinded.to_pylist() == blinded

    evaluated, proof = native_key.blind_evaluate(native_blinded)
    expected = [reference.encode(reference.multiply(key, decode(element))) for element in blinded]
    assert evaluated.to_pylist() == expected
    assert reference.proof_holds(native_key.public_key, blinded, expected, proof)

    nonce = random_scalar()
    reference_proof = reference.prove(key, blinded, expected, nonce)
    native_proof = _native.prove_with(native_key, native_blinded, evaluated, little(nonce))
    assert native_proof == reference_proof

    outputs = native_seed.finalize(
        binary(sent),
        indices,
        native_blinded,
        elements(expected),
        proof=reference_proof,
        public_key=native_key.public_key,
        bits=512,
    )
    assert outputs.to_pylist() == [
        reference.unblinded_output(value, blind, element, native_key.public_key)
        for value, blind, element in zip(sent, blinds, expected, strict=True)
    ]
    assert outputs == native_key.evaluate(binary(sent))


def test_ecdh_agrees() -> None:
    values = random_values(4)
    seed, other_seed = secrets.token_bytes(32), secrets.token_bytes(32)
    scalar, other = reference.ecdh_scalar(seed), reference.ecdh_scalar(other_seed)
    native = _native.Seed.from_secret_bytes(seed).scalar()
    single = [reference.ecdh_element(value, scalar) for value in values]
    assert native.blind(binary(values)).to_pylist() == single
    others = [reference.ecdh_element(value, other) for value in values]
    double = [reference.encode(reference.multiply(scalar, decode(point))) for point in others]
    assert native.multiply(elements(others)).to_pylist() == double


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 6, 7, 8, 9, 100])
def test_merkle_root_and_commitment_agree(rows: int) -> None:
    values, seed = random_values(rows), secrets.token_bytes(32)
    root = reference.merkle_root(values)
    assert _native.merkle_root(binary(values)) == root
    committed = _native.Seed.from_secret_bytes(seed).commitment(root)
    assert committed == reference.commitment(seed, root)


def decode(encoding: bytes) -> reference.Point:
    point = reference.decode(encoding)
    assert point is not None
    return point
