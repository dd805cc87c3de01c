"""What TLS is given: our own certificate and key, and the peers' pinned certificates.

Only a certificate that is byte for byte a pinned one is ever accepted, although gRPC can be told no
more than a set of roots. It holds because every pinned certificate is checked here to have a key usage
without ``keyCertSign``: path building then never takes one for an issuer, whoever signed with its key,
and what is left is to find the presented certificate itself among the roots. (``CA:FALSE``, which is
checked as well, is not enough: BoringSSL does not ask it of a root.) The tests try it with each
certificate that comes close: one signed by a pinned key, alone and with the pinned one behind it; the
same key and name in another certificate; another party's; an expired one.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from psishare.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """Our own certificate and its private key.

    Attributes:
        cert_pem: one certificate, PEM.
        key_pem: its private key, PEM, not encrypted. Never printed.
    """

    cert_pem: bytes
    key_pem: bytes = field(repr=False)

    def check(self, *, now: datetime | None = None) -> None:
        """Prove that the key belongs to the certificate, and that this is in force.

        Args:
            now: the time to judge by, aware; the present where None.

        Raises:
            ConfigError: ``tls_identity_invalid``, ``tls_identity_expired`` or
                ``tls_identity_not_yet_valid``.
        """
        certificate = self._load()
        moment = now or datetime.now(UTC)
        if moment > certificate.not_valid_after_utc:
            raise _unusable("has expired", "tls_identity_expired")
        if moment < certificate.not_valid_before_utc:
            raise _unusable("is not valid yet", "tls_identity_not_yet_valid")

    def _load(self) -> x509.Certificate:
        try:
            certificate = x509.load_pem_x509_certificate(self.cert_pem)
            key = load_pem_private_key(self.key_pem, password=None)
            of_certificate = _spki(certificate.public_key())
            of_key = _spki(key.public_key())
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise _unusable("or its key cannot be read", "tls_identity_invalid") from None
        if of_certificate != of_key:
            raise _unusable("does not belong to the key beside it", "tls_identity_invalid")
        return certificate

    @property
    def certificate_sha256(self) -> bytes:
        """32 bytes, SHA-256 of the certificate in DER."""
        return hashlib.sha256(der_of(self.cert_pem)).digest()


def der_of(pem: bytes) -> bytes:
    """Return the DER bytes of one certificate in PEM, as they stand.

    Raises:
        ConfigError: ``certificate_unreadable``.
    """
    try:
        return ssl.PEM_cert_to_DER_cert(pem.decode("ascii").strip())
    except (ValueError, UnicodeDecodeError):
        raise ConfigError(
            "a certificate is not PEM",
            mend="Export the card again.",
            reason="certificate_unreadable",
        ) from None


def roots_of(pinned: Sequence[bytes], *, party: str | None = None) -> bytes:
    """Return the PEM roots against which exactly the pinned certificates verify.

    Args:
        pinned: certificates in DER, in any order.
        party: whose they are, where they are one party's.

    Raises:
        ConfigError: ``certificate_unreadable``, or ``certificate_unfit`` where one could vouch for
            another.
    """
    return b"".join(_root(der, party) for der in pinned)


def _root(der: bytes, party: str | None) -> bytes:
    try:
        certificate = x509.load_der_x509_certificate(der)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        raise _unfit(party) from None
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise ConfigError(
            "a pinned certificate cannot be read",
            mend="Ask its party for its current card.",
            reason="certificate_unreadable",
            party=party,
        ) from None
    if constraints.ca or usage.key_cert_sign or certificate.issuer != certificate.subject:
        raise _unfit(party)
    return ssl.DER_cert_to_PEM_cert(der).encode("ascii")


def _unfit(party: str | None) -> ConfigError:
    return ConfigError(
        "a pinned certificate is not self-signed, CA:FALSE and without the usage keyCertSign:"
        " it could vouch for another",
        mend="Ask its party for a card made by psishare.",
        reason="certificate_unfit",
        party=party,
    )


def _unusable(what: str, reason: str) -> ConfigError:
    return ConfigError(
        f"this party's TLS certificate {what}",
        mend="Make a new certificate and give the peers the new card.",
        reason=reason,
    )


def _spki(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]
