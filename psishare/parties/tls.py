"""A party's TLS certificate: self-signed, known by its bytes, never an issuer of others.

Source: protocols/specs/card.md, section 5.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from psishare.errors import ConfigError

KEY_ALGORITHM = "ecdsa-p256"
NAME_HEX = 32
NAME_SUFFIX = ".psishare.invalid"
VALID_DAYS = 365
BACKDATED = timedelta(hours=1)
"""So that a peer whose clock is behind can connect at once."""

_USES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """A party's certificate and private key, as a TLS library takes them.

    Attributes:
        cert_pem: the certificate, PEM.
        key_pem: its private key, PEM (PKCS #8), not encrypted. Never printed.
        certificate_sha256: SHA-256 of the certificate in DER, 32 bytes.
    """

    cert_pem: bytes
    key_pem: bytes = field(repr=False)
    certificate_sha256: bytes


def tls_name(party_id: str) -> str:
    """Return the DNS name in a party's certificate: it names nobody to those who listen."""
    return hashlib.sha256(party_id.encode()).hexdigest()[:NAME_HEX] + NAME_SUFFIX


def make_certificate(
    party_id: str, *, now: datetime, valid_days: int = VALID_DAYS
) -> tuple[bytes, bytes]:
    """Make a fresh ECDSA P-256 key and a self-signed certificate for it.

    Args:
        party_id: whose it is.
        now: with a time zone; the validity begins an hour before.
        valid_days: how long it lasts.

    Returns:
        The certificate in DER, and the private key in DER (PKCS #8).
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(party_id)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=valid_days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_USES), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(tls_name(party_id))]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.DER), private


def make_identity(certificate_der: bytes, private_der: bytes) -> TlsIdentity:
    """Return certificate and private key as PEM, after a check that they belong together.

    Raises:
        ConfigError: ``tls_key_invalid``, the key is malformed or another certificate's.
    """
    certificate = x509.load_der_x509_certificate(certificate_der)
    try:
        key = serialization.load_der_private_key(private_der, password=None)
    except (ValueError, UnsupportedAlgorithm):
        raise _wrong_key() from None
    if key.public_key() != certificate.public_key():
        raise _wrong_key()
    return TlsIdentity(
        cert_pem=certificate.public_bytes(serialization.Encoding.PEM),
        key_pem=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        certificate_sha256=hashlib.sha256(certificate_der).digest(),
    )


def validity(certificate_der: bytes) -> tuple[datetime, datetime]:
    """Return from when and until when a certificate is valid, in UTC.

    Args:
        certificate_der: one that ``require_certificate`` has let pass.
    """
    certificate = x509.load_der_x509_certificate(certificate_der)
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def require_certificate(certificate_der: bytes, party_id: str) -> None:
    """Refuse bytes that are not a certificate as protocols/specs/card.md, section 5, has it.

    Its dates are not looked at: an expired certificate is still this card's.

    Raises:
        ConfigError: ``certificate_invalid``; says which rule it breaks.
    """
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        fault = _fault(certificate, party_id)
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        fault = "is malformed or not signed by its own key"
    except (x509.ExtensionNotFound, x509.DuplicateExtension):
        fault = "lacks an extension, or has one twice"
    if fault is not None:
        raise ConfigError(
            f"a TLS certificate in a card {fault}",
            mend="Ask the card's owner for one made by psishare.",
            reason="certificate_invalid",
            party=party_id,
        )


def _fault(certificate: x509.Certificate, party_id: str) -> str | None:
    """Return what is wrong with a parsed certificate, or None."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return "does not hold an ECDSA P-256 key"
    if certificate.subject != _name(party_id) or certificate.issuer != _name(party_id):
        return "does not bear the name that belongs to the card's id"
    return _extension_fault(certificate.extensions, party_id)


def _extension_fault(extensions: x509.Extensions, party_id: str) -> str | None:
    extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if list(names) != [x509.DNSName(tls_name(party_id))]:
        return "is for another name than the one that belongs to the card's id"
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    if constraints.value.ca or not constraints.critical:
        return "may issue other certificates"
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    if usage.value != _key_usage() or not usage.critical:
        return "is for something else than digital signatures"
    if set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) != set(_USES):
        return "is not for servers and clients alike"
    return None


def _name(party_id: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, tls_name(party_id))])


def _key_usage() -> x509.KeyUsage:
    # Not keyCertSign: a TLS library would then take the certificate for an issuer, and would find
    # the wrong one of two certificates that share a name.
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _wrong_key() -> ConfigError:
    return ConfigError(
        "the TLS key in this home folder does not belong to the certificate in its card",
        mend="Restore the whole home folder from one backup.",
        reason="tls_key_invalid",
    )
