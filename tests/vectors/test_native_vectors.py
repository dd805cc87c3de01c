"""The published vectors and psishare's own, through Python and Arrow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import reference_voprf as reference

from psishare import _native
from psishare.errors import ProtocolError

VECTORS = Path(__file__).parents[2] / "protocols" / "vectors"
hexadecimal = bytes.fromhex


def read(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def values(strings: list[str]) -> pa.Array:
    return pa.array([hexadecimal(string) for string in strings], pa.binary())


def fixed(strings: list[str], width: int) -> pa.FixedSizeBinaryArray:
    return pa.array([hexadecimal(string) for string in strings], pa.binary(width))


RFC9496 = read("rfc9496.json")
RFC9497 = read("rfc9497.json")
PSISHARE = read("psishare.json")
INVALID = [
    pytest.param(encoding, id=f"{group['why']}, {encoding[:8]}")
    for group in RFC9496["invalid_encodings"]
    for encoding in group["encodings"]
]


def test_multiples_of_the_generator_are_canonical() -> None:
    assert len(RFC9496["generator_multiples"]) == 16
    for encoding in RFC9496["generator_multiples"]:
        assert _native.is_canonical_element(hexadecimal(encoding))


@pytest.mark.parametrize("encoding", INVALID)
def test_invalid_encoding_is_refused(encoding: str) -> None:
    assert not _native.is_canonical_element(hexadecimal(encoding))
    assert reference.decode(hexadecimal(encoding)) is None
    good = RFC9496["generator_multiples"][1]
    scalar = _native.Seed.generate().scalar()
    with pytest.raises(ProtocolError, match="row 1 "):
        scalar.multiply(fixed([good, encoding], 32))


@pytest.mark.parametrize("vector", RFC9496["one_way_map"])
def test_one_way_map_gives_published_element(vector: dict[str, str]) -> None:
    assert _native.one_way_map(hexadecimal(vector["uniform"])).hex() == vector["element"]


@pytest.mark.parametrize("test", RFC9497["modes"][0]["tests"])
def test_mode_0_gives_published_values(test: dict[str, Any]) -> None:
    mode = RFC9497["modes"][0]
    secret, blinded, evaluated, outputs = _native.base_mode(
        values(test["inputs"]),
        hexadecimal("".join(test["blinds"])),
        seed=hexadecimal(mode["seed"]),
        info=hexadecimal(mode["key_info"]),
    )
    assert secret.hex() == mode["secret_key"]
    assert blinded == fixed(test["blinded_elements"], 32)
    assert evaluated == fixed(test["evaluated_elements"], 32)
    assert outputs == fixed(test["outputs"], 64)


def voprf_key() -> _native.OprfKey:
    mode = RFC9497["modes"][1]
    return _native.OprfKey.derive_key_pair(hexadecimal(mode["seed"]), hexadecimal(mode["key_info"]))


def test_mode_1_derives_published_key() -> None:
    assert voprf_key().secret_bytes().hex() == RFC9497["modes"][1]["secret_key"]
    assert voprf_key().public_key.hex() == RFC9497["modes"][1]["public_key"]


@pytest.mark.parametrize("test", RFC9497["modes"][1]["tests"])
def test_mode_1_gives_published_values(test: dict[str, Any]) -> None:
    key, inputs = voprf_key(), values(test["inputs"])
    blinded = _native.blind_rfc9497(inputs, hexadecimal("".join(test["blinds"])))
    assert blinded == fixed(test["blinded_elements"], 32)
    evaluated, _ = key.blind_evaluate(blinded)
    assert evaluated == fixed(test["evaluated_elements"], 32)
    proof = _native.prove_rfc9497(key, blinded, evaluated, hexadecimal(test["proof_nonce"]))
    assert proof.hex() == test["proof"]
    assert key.evaluate(inputs) == fixed(test["outputs"], 64)


@pytest.mark.parametrize("test", RFC9497["modes"][1]["tests"])
def test_published_proof_is_accepted_and_altered_one_refused(test: dict[str, Any]) -> None:
    proof = hexadecimal(test["proof"])

    def verify(proof: bytes) -> None:
        _native.verify_rfc9497(
            fixed(test["blinded_elements"], 32),
            fixed(test["evaluated_elements"], 32),
            proof=proof,
            public_key=hexadecimal(RFC9497["modes"][1]["public_key"]),
        )

    verify(proof)
    with pytest.raises(ProtocolError) as refused:
        verify(bytes([proof[0] ^ 1]) + proof[1:])
    assert refused.value.reason == "proof_invalid"


@pytest.mark.parametrize("vector", PSISHARE["derivations"])
def test_seed_derives_specified_secrets(vector: dict[str, Any]) -> None:
    seed = _native.Seed.from_secret_bytes(hexadecimal(vector["seed"]))
    for blind in vector["blinds"]:
        index = pa.array([int(blind["index"])], pa.uint64())
        assert seed.blind(values([blind["value"]]), index) == fixed([blind["blinded_element"]], 32)
    for order in vector["orders"]:
        assert seed.order(order["rows"]) == pa.array(order["order"], pa.uint64())
    root = _native.merkle_root(values(vector["values"]))
    assert root.hex() == vector["input_root"]
    assert seed.commitment(root).hex() == vector["commitment"]
    elements = seed.scalar().blind(values(vector["values"]))
    assert elements == fixed(vector["ecdh_elements"], 32)


def test_ecdh_gives_specified_double_elements() -> None:
    vector = PSISHARE["ecdh_double"]
    first, second = (
        _native.Seed.from_secret_bytes(hexadecimal(seed)).scalar() for seed in vector["seeds"]
    )
    expected = fixed(vector["elements"], 32)
    inputs = values(vector["values"])
    assert second.multiply(first.blind(inputs)) == expected
    assert first.multiply(second.blind(inputs)) == expected


def test_fingerprint_is_first_bits_and_zeros() -> None:
    vector = PSISHARE["fingerprints"]
    key = _native.OprfKey.derive_key_pair(
        hexadecimal(vector["key_seed"]), hexadecimal(vector["key_info"])
    )
    inputs = values([vector["value"]])
    assert key.evaluate(inputs) == fixed([vector["output"]], 64)
    for cut in vector["cuts"]:
        expected = fixed([cut["fingerprint"]], len(cut["fingerprint"]) // 2)
        assert key.fingerprints(inputs, bits=cut["bits"]) == expected


def test_merkle_roots_are_those_of_certificate_transparency() -> None:
    vector = read("rfc6962.json")
    assert _native.merkle_root(values([])).hex() == vector["empty_root"]
    for size, root in enumerate(vector["roots"], start=1):
        assert _native.merkle_root(values(vector["leaves"][:size])).hex() == root
