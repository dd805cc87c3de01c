from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psishare.errors import (
    AuditError,
    AuthorisationError,
    ConfigError,
    ExitCode,
    InputError,
    InternalError,
    PeerError,
    ProtocolError,
    PsishareError,
    TransportError,
    VerificationError,
)
from psishare.transport import fault
from psishare.transport import wire_pb2 as wire

SECRET = "/srv/secret/path"


def crossed(error: PsishareError) -> PsishareError:
    return fault.decode(fault.encode(error), peer="acme", step="the offer")


def received(**fields: str) -> PsishareError:
    data = wire.Fault(**fields).SerializeToString()
    return fault.decode(data, peer="acme", step="the offer")


@pytest.mark.parametrize(
    "kind",
    [AuthorisationError, ProtocolError, PeerError, VerificationError],
    ids=lambda k: k.__name__,
)
def test_refusal_crosses_with_class_reason_and_sentences(kind: type[PsishareError]) -> None:
    error = crossed(
        kind("the mandate has expired", mend="Get a new one.", reason="mandate_expired")
    )
    assert type(error) is kind
    assert error.reason == "mandate_expired"
    assert error.message == "acme answered the offer: the mandate has expired"
    assert error.mend == "acme says: Get a new one."
    assert error.party == "acme"


def test_fault_of_the_peers_log_crosses_without_its_sentences() -> None:
    error = crossed(AuditError(f"no space under {SECRET}", mend=SECRET, reason="log_full"))
    assert type(error) is AuditError
    assert error.reason == "log_full"
    assert SECRET not in error.diagnostics()
    assert error.exit_code is ExitCode.AUDIT


class CustomError(ProtocolError):
    """Not one of the classes that cross."""


@pytest.mark.parametrize(
    "kind", [ConfigError, InputError, InternalError, TransportError, CustomError]
)
def test_other_errors_cross_as_a_peer_that_failed(kind: type[PsishareError]) -> None:
    error = kind(SECRET, mend=SECRET, reason="secret_reason", party="secret-party")
    data = fault.encode(error)
    assert wire.Fault.FromString(data) == wire.Fault(error="InternalError", reason="internal")
    told = fault.decode(data, peer="acme", step="the offer")
    assert type(told) is PeerError
    assert told.reason == "peer_failed"
    assert told.exit_code is ExitCode.PEER
    assert told.party == "acme"


@pytest.mark.parametrize(
    "name", ["", "InternalError", "SystemExit", "PsishareError", "ConfigError"]
)
def test_class_that_may_not_cross_is_a_peer_that_failed(name: str) -> None:
    error = received(error=name, reason="mandate_expired", message="believe me")
    assert type(error) is PeerError
    assert error.reason == "peer_failed"
    assert "believe me" not in error.diagnostics()


@pytest.mark.parametrize("reason", ["", "Mandate", "a-b", "a b", "x" * 65, "réason", "a\n", "a1"])
def test_reason_that_is_not_one_is_replaced(reason: str) -> None:
    assert received(error="ProtocolError", reason=reason).reason == "protocol_violated"


def test_hostile_text_becomes_one_short_printable_line() -> None:
    text = "\x1b[2Jowned\r\n\u202egnp.exe\u2028\x00 at\tfault: you " + "A" * 1000
    error = received(error="ProtocolError", reason="x", message=text, mend=text)
    for line in (error.message, error.mend):
        assert line.isprintable()
        assert len(line) < 340
    assert error.message.startswith("acme answered the offer: [2Jowned gnp.exe at fault: you AAA")


def test_fault_without_sentences_still_says_something() -> None:
    error = received(error="AuthorisationError")
    assert error.message == "acme answered the offer: it gave no sentence"
    assert error.mend == "Ask the operator of acme."
    assert error.reason == "not_authorised"


@pytest.mark.parametrize("data", [b"\xff", b"\x7a\x01x", b"\x0a\x01\xff", bytes(5000)])
def test_fault_that_cannot_be_read_is_a_protocol_error(data: bytes) -> None:
    error = fault.decode(data, peer="acme", step="the offer")
    assert type(error) is ProtocolError
    assert error.reason == "fault_malformed"


@given(st.binary(max_size=200))
def test_any_bytes_decode_to_an_error_that_names_the_peer(data: bytes) -> None:
    error = fault.decode(data, peer="acme", step="the offer")
    assert error.party == "acme"
    assert fault.REASON.fullmatch(error.reason)
    assert error.message.isprintable()
    assert error.mend.isprintable()


@given(message=st.text(), mend=st.text(), reason=st.text())
def test_any_refusal_fits_the_metadata_and_can_be_read(
    message: str, mend: str, reason: str
) -> None:
    error = AuthorisationError(message * 20, mend=mend * 20, reason=reason)
    data = fault.encode(error)
    assert len(data) <= fault.FAULT_BYTES_MAX
    assert type(fault.decode(data, peer="acme", step="the offer")) is AuthorisationError


def test_longest_refusal_fits_the_metadata() -> None:
    error = ProtocolError("\U0001f600" * 400, mend="\U0001f600" * 400, reason="x" * 64)
    assert len(fault.encode(error)) <= fault.FAULT_BYTES_MAX
