"""Parties with real certificates, and ends of connections that do what a test says."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from psishare.transport import wire_pb2 as wire
from psishare.transport.certificate import TlsIdentity
from psishare.transport.channel import SERVICE, Call, Caller
from psishare.transport.grpc_client import GrpcChannel
from psishare.transport.grpc_server import GrpcServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

LOOPBACK = "127.0.0.1:0"


def without_grpc_settings() -> dict[str, str]:
    """Return the environment for a process that sets up gRPC by itself."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}


@dataclass(frozen=True)
class Party:
    """A party: its id, its key with one certificate for it, and whose certificate it sends along."""

    id: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    behind: Party | None = None

    @property
    def server_name(self) -> str:
        return f"{self.id}.psishare.invalid"

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        return self.pem + (self.behind.pem if self.behind else b"")

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def identity(self) -> TlsIdentity:
        return TlsIdentity(self.chain_pem, self.key_pem)


def make_party(
    party_id: str,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    signed_by: Party | None = None,
    ca: bool = False,
    basic_constraints: bool = True,
    key_usage: bool = True,
    cert_sign: bool = False,
    key_identifiers: bool = False,
    days: tuple[int, int] = (-1, 365),
) -> Party:
    """Make a party; valid from ``days[0]`` to ``days[1]`` from now, self-signed unless told."""
    own = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{party_id}.psishare.invalid")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(signed_by.certificate.subject if signed_by else name)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(f"{party_id}.psishare.invalid")]),
            critical=False,
        )
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
    )
    if basic_constraints:
        builder = builder.add_extension(
            x509.BasicConstraints(ca=ca, path_length=None), critical=True
        )
    if key_usage:
        builder = builder.add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=cert_sign,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    if key_identifiers:
        signer = (signed_by.key if signed_by else own).public_key()
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False
        ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    return Party(party_id, own, builder.sign(signed_by.key if signed_by else own, SHA256()))


class Answers:
    """A responder that is a function."""

    def __init__(self, function: Callable[[Call, Message, Caller], Message]) -> None:
        self._function = function

    def answer(self, call: Call, request: Message, caller: Caller) -> Message:
        return self._function(call, request, caller)


class Greeter:
    """A responder that greets with the name it was greeted with, and the caller's certificate."""

    def answer(self, call: Call, request: Message, caller: Caller) -> Message:
        assert call is Call.HELLO
        assert isinstance(request, wire.HelloRequest)
        return wire.HelloResponse(
            platform=request.authority, certificate_sha256=caller.certificate_sha256
        )


class Waiting:
    """A responder that stays silent until it is released."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.released = threading.Event()

    def answer(self, call: Call, request: Message, caller: Caller) -> Message:
        self.asked.set()
        assert self.released.wait(60)
        return call.response()


def raising(error: Exception) -> Answers:
    """Return a responder that raises."""

    def refuse(call: Call, request: Message, caller: Caller) -> Message:
        raise error

    return Answers(refuse)


def greet(channel: Any, name: str = "authority", *, timeout_s: float | None = None) -> str:
    """Carry a greeting, and return what came back."""
    request = wire.HelloRequest(authority=name)
    response = channel.call(Call.HELLO, request, timeout_s=timeout_s)
    assert isinstance(response, wire.HelloResponse)
    return response.platform


@contextmanager
def serving(
    responder: Any, platform: Party, *clients: Party, **settings: Any
) -> Iterator[tuple[GrpcServer, int]]:
    """Run a server on loopback."""
    settings.setdefault("address", LOOPBACK)
    settings.setdefault("pinned_clients", tuple(client.der for client in clients))
    with GrpcServer(responder, identity=platform.identity, **settings) as server:
        yield server, server.start()


def connect(port: int, authority: Party, *pinned: Party, **settings: Any) -> GrpcChannel:
    """Connect to a port of loopback, where the first pinned certificate's party should be."""
    settings.setdefault("address", f"127.0.0.1:{port}")
    settings.setdefault("server_name", pinned[0].server_name)
    settings.setdefault("timeout_s", 10.0)
    settings.setdefault("retry_for_s", 0.5)
    return GrpcChannel.connect(
        identity=authority.identity,
        pinned=tuple(party.der for party in pinned),
        peer=pinned[0].id,
        **settings,
    )


@contextmanager
def hostile_platform(
    answer: Callable[[bytes, Any], bytes], platform: Party, *clients: Party
) -> Iterator[int]:
    """Run a server with the platform's key that answers any call with any bytes."""

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            if details.method.endswith("/Probe"):
                return None
            return grpc.unary_unary_rpc_method_handler(answer)

    with ThreadPoolExecutor(4) as workers:
        server = grpc.server(workers, handlers=[Handler()], options=[("grpc.so_reuseport", 0)])
        credentials = grpc.ssl_server_credentials(
            [(platform.key_pem, platform.chain_pem)],
            b"".join(client.pem for client in clients),
            require_client_auth=True,
        )
        port = cast("int", server.add_secure_port(LOOPBACK, credentials))
        server.start()
        try:
            yield port
        finally:
            server.stop(0).wait()


@contextmanager
def hostile_authority(
    port: int, authority: Party, platform: Party, **settings: Any
) -> Iterator[Callable[..., bytes]]:
    """Yield a function that sends any bytes to any call of the wire with the authority's key."""
    credentials = grpc.ssl_channel_credentials(platform.pem, authority.key_pem, authority.pem)
    options = [("grpc.ssl_target_name_override", platform.server_name)]
    with grpc.secure_channel(
        f"ipv4:127.0.0.1:{port}", credentials, options=options, **settings
    ) as channel:

        def send(rpc: str, data: bytes) -> bytes:
            path = rpc if rpc.startswith("/") else f"/{SERVICE}/{rpc}"
            return cast("bytes", channel.unary_unary(path)(data, timeout=30))

        yield send
