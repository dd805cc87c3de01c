from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from transport_parties import make_party

from psishare.errors import ConfigError
from psishare.transport.certificate import TlsIdentity, der_of, roots_of


def test_identity_with_its_key_is_accepted() -> None:
    party = make_party("acme")
    party.identity.check()
    assert party.identity.certificate_sha256 == hashlib.sha256(party.der).digest()


def test_identity_never_prints_its_key() -> None:
    party = make_party("acme")
    assert "PRIVATE" not in repr(party.identity)
    assert party.key_pem.decode().splitlines()[1] not in repr(party.identity)


def test_identity_with_anothers_key_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        TlsIdentity(make_party("acme").pem, make_party("acme").key_pem).check()
    assert caught.value.reason == "tls_identity_invalid"


@pytest.mark.parametrize("garbage", [b"", b"not PEM", b"-----BEGIN CERTIFICATE-----\n"])
def test_unreadable_identity_is_refused(garbage: bytes) -> None:
    party = make_party("acme")
    for identity in (TlsIdentity(garbage, party.key_pem), TlsIdentity(party.pem, garbage)):
        with pytest.raises(ConfigError) as caught:
            identity.check()
        assert caught.value.reason == "tls_identity_invalid"


@pytest.mark.parametrize(
    ("days", "reason"), [(366, "tls_identity_expired"), (-2, "tls_identity_not_yet_valid")]
)
def test_identity_out_of_its_time_is_refused(days: int, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_party("acme").identity.check(now=datetime.now(UTC) + timedelta(days=days))
    assert caught.value.reason == reason


def test_roots_are_exactly_the_pinned_certificates() -> None:
    one, two = make_party("acme"), make_party("acme")
    pems = roots_of((one.der, two.der)).split(b"-----END CERTIFICATE-----\n")[:-1]
    assert [der_of(pem + b"-----END CERTIFICATE-----\n") for pem in pems] == [one.der, two.der]
    assert roots_of(()) == b""


@pytest.mark.parametrize(
    "party",
    [
        pytest.param(make_party("acme", ca=True), id="CA:TRUE"),
        pytest.param(make_party("acme", basic_constraints=False), id="no basic constraints"),
        pytest.param(make_party("acme", key_usage=False), id="no key usage"),
        pytest.param(make_party("acme", cert_sign=True), id="keyCertSign"),
        pytest.param(make_party("acme", signed_by=make_party("issuer")), id="not self-signed"),
    ],
)
def test_pinned_certificate_that_could_vouch_for_another_is_refused(party: object) -> None:
    with pytest.raises(ConfigError) as caught:
        roots_of((party.der,), party="acme")  # type: ignore[attr-defined]
    assert caught.value.reason == "certificate_unfit"
    assert caught.value.party == "acme"


def test_pinned_certificate_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        roots_of((b"\x30\x00",))
    assert caught.value.reason == "certificate_unreadable"


def test_text_that_is_no_pem_is_refused() -> None:
    for pem in (b"\xff", b"nothing", make_party("acme").pem[:-10]):
        with pytest.raises(ConfigError) as caught:
            der_of(pem)
        assert caught.value.reason == "certificate_unreadable"
