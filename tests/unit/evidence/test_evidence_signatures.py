from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from psishare.errors import ConfigError, VerificationError
from psishare.evidence import signatures as module
from psishare.evidence.digest_set import DigestSet
from psishare.evidence.signatures import Signatures
from psishare.keys import statement
from psishare.keys.signer import Ed25519Signer
from psishare.keys.statement import sign_statement

SIGNERS = {name: Ed25519Signer.from_secret_bytes(bytes([i]) * 32) for i, name in enumerate("abc")}
TRUST: Any = {
    name: SimpleNamespace(log_key=signer.public_key)
    for name, signer in SIGNERS.items()
    if name != "c"
}
DOCUMENT = b'{"a":1}'
SIGNATURE = sign_statement(SIGNERS["a"], "offer", DOCUMENT)


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def test_what_verified_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    real = statement.verify_statement

    def counted(*args: Any, **options: Any) -> None:
        looked.append(options["party"])
        real(*args, **options)

    monkeypatch.setattr(module, "verify_statement", counted)
    with closing(DigestSet()) as verified:
        for _ in range(3):
            Signatures(TRUST, verified).verify("a", "offer", DOCUMENT, SIGNATURE)
    assert looked == ["a"]
    for _ in range(3):
        Signatures(TRUST).verify("a", "offer", DOCUMENT, SIGNATURE)
    assert looked == ["a"] * 4


def test_what_is_required_is_verified_in_order_when_it_is_settled() -> None:
    signatures = Signatures(TRUST)
    for index, signature in enumerate((SIGNATURE, flipped(SIGNATURE), SIGNATURE)):
        signatures.index = index
        signatures.require("a", "offer", DOCUMENT, signature)
    assert signatures.n_due == 3
    with pytest.raises(VerificationError):
        signatures.settle()
    assert (signatures.index, signatures.n_due) == (1, 0)
    signatures.settle()
    with pytest.raises(ConfigError):
        signatures.require("c", "offer", DOCUMENT, SIGNATURE)


@pytest.mark.parametrize("remembers", [True, False])
def test_nothing_else_is_taken_for_what_verified(*, remembers: bool) -> None:
    with closing(DigestSet()) as verified:
        signatures = Signatures(TRUST, verified if remembers else None)
        signatures.verify("a", "offer", DOCUMENT, SIGNATURE)
        for party, label, document, signature in (
            ("b", "offer", DOCUMENT, SIGNATURE),
            ("a", "answer", DOCUMENT, SIGNATURE),
            ("a", "offer", flipped(DOCUMENT), SIGNATURE),
            ("a", "offer", DOCUMENT, flipped(SIGNATURE)),
            ("a", "offer", DOCUMENT + SIGNATURE[:1], SIGNATURE[1:]),
            ("a", "offer", DOCUMENT[:-1], DOCUMENT[-1:] + SIGNATURE),
        ):
            for _ in range(2):
                with pytest.raises(VerificationError):
                    signatures.verify(party, label, document, signature)
        with pytest.raises(ConfigError):
            signatures.verify("c", "offer", DOCUMENT, SIGNATURE)
