"""Who gets in: nobody but the holder of a certificate that is pinned, byte for byte."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from transport_parties import (
    Answers,
    Greeter,
    Party,
    connect,
    greet,
    hostile_authority,
    hostile_platform,
    make_party,
    serving,
)

from psishare.errors import ExitCode, PeerError, PsishareError
from psishare.transport import wire_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from psishare.transport.channel import Call, Caller

PLATFORM = make_party("platform")
AUTHORITY = make_party("authority")
OTHER = make_party("other")


def signed_by(signer: Party, pinned: Party, **settings: Any) -> Party:
    """Return a party of the pinned one's name whose certificate another's key has signed."""
    return make_party(pinned.id, signed_by=signer, key_identifiers=True, **settings)


IMPOSTORS: dict[str, Callable[[Party, Party], Party]] = {
    "same name": lambda pinned, other: make_party(pinned.id),
    "same name and key": lambda pinned, other: make_party(pinned.id, key=pinned.key),
    "same name and key, key identifiers": lambda pinned, other: make_party(
        pinned.id, key=pinned.key, key_identifiers=True
    ),
    "signed by it": lambda pinned, other: signed_by(pinned, pinned),
    "signed by it and sent with it": lambda pinned, other: replace(
        signed_by(pinned, pinned), behind=pinned
    ),
    "reissued by it": lambda pinned, other: signed_by(pinned, pinned, key=pinned.key),
    "signed by another": lambda pinned, other: signed_by(other, pinned),
    "signed by another and sent with it": lambda pinned, other: replace(
        signed_by(other, pinned), behind=other
    ),
    "sent with it": lambda pinned, other: replace(make_party(pinned.id), behind=pinned),
    "a CA of its name": lambda pinned, other: make_party(pinned.id, ca=True, cert_sign=True),
    "a stranger": lambda pinned, other: make_party("stranger"),
}

impostors = pytest.mark.parametrize("impostor", IMPOSTORS.values(), ids=IMPOSTORS)
key_identifiers = pytest.mark.parametrize("key_identifiers", [False, True], ids=["bare", "key ids"])


def unasked(call: Call, request: Message, caller: Caller) -> Message:
    raise AssertionError("a stranger was let in")


def assert_is_not_the_peer(error: PsishareError) -> None:
    assert type(error) is PeerError
    assert error.reason == "peer_certificate"
    assert error.exit_code is ExitCode.PEER
    assert error.party == "platform"


@impostors
@key_identifiers
def test_authority_refuses_a_server_whose_certificate_is_not_the_pinned_one(
    impostor: Callable[[Party, Party], Party], key_identifiers: bool
) -> None:
    pinned = make_party("platform", key_identifiers=key_identifiers)
    next_one = make_party("platform", key_identifiers=key_identifiers)
    other = make_party("other", key_identifiers=key_identifiers)
    with (
        hostile_platform(lambda data, context: data, impostor(pinned, other), AUTHORITY) as port,
        pytest.raises(PeerError) as caught,
    ):
        connect(port, AUTHORITY, pinned, next_one)
    assert_is_not_the_peer(caught.value)
    assert "not pinned" in caught.value.message


def test_authority_refuses_another_pinned_party_that_poses_as_the_platform() -> None:
    with (
        serving(Answers(unasked), OTHER, AUTHORITY) as (_, port),
        pytest.raises(PeerError) as caught,
    ):
        connect(port, AUTHORITY, PLATFORM)
    assert_is_not_the_peer(caught.value)


def test_authority_refuses_a_pinned_certificate_of_another_name() -> None:
    with (
        serving(Answers(unasked), PLATFORM, AUTHORITY) as (_, port),
        pytest.raises(PeerError) as caught,
    ):
        connect(port, AUTHORITY, PLATFORM, server_name="elsewhere.psishare.invalid")
    assert_is_not_the_peer(caught.value)


def test_authority_refuses_a_pinned_certificate_that_has_expired() -> None:
    expired = make_party("platform", days=(-10, -5))
    with (
        hostile_platform(lambda data, context: data, expired, AUTHORITY) as port,
        pytest.raises(PeerError) as caught,
    ):
        connect(port, AUTHORITY, expired)
    assert_is_not_the_peer(caught.value)
    assert "expired" in caught.value.message


@impostors
@key_identifiers
def test_platform_refuses_a_client_whose_certificate_is_not_pinned(
    impostor: Callable[[Party, Party], Party], key_identifiers: bool
) -> None:
    pinned = make_party("authority", key_identifiers=key_identifiers)
    next_one = make_party("authority", key_identifiers=key_identifiers)
    other = make_party("other", key_identifiers=key_identifiers)
    with (
        serving(Answers(unasked), PLATFORM, pinned, next_one, other) as (server, port),
        pytest.raises(PeerError) as caught,
    ):
        connect(port, impostor(pinned, other), PLATFORM)
    assert_is_not_the_peer(caught.value)
    assert "our certificate" in caught.value.message
    assert server.connections >= 1


def test_platform_refuses_a_pinned_client_that_has_expired() -> None:
    expired = make_party("authority", days=(-10, -5))
    with (
        serving(Answers(unasked), PLATFORM, expired) as (_, port),
        hostile_authority(port, expired, PLATFORM) as send,
        pytest.raises(grpc.RpcError) as caught,
    ):
        send("Hello", b"")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_platform_refuses_a_client_without_a_certificate() -> None:
    with serving(Answers(unasked), PLATFORM, AUTHORITY) as (_, port):
        credentials = grpc.ssl_channel_credentials(PLATFORM.pem)
        options = [("grpc.ssl_target_name_override", PLATFORM.server_name)]
        with (
            grpc.secure_channel(f"ipv4:127.0.0.1:{port}", credentials, options) as channel,
            pytest.raises(grpc.RpcError) as caught,
        ):
            channel.unary_unary("/psishare.v1.Psishare/Hello")(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_platform_refuses_plaintext() -> None:
    with (
        serving(Answers(unasked), PLATFORM, AUTHORITY) as (_, port),
        grpc.insecure_channel(f"ipv4:127.0.0.1:{port}") as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        channel.unary_unary("/psishare.v1.Psishare/Hello")(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_platform_without_peers_lets_nobody_in() -> None:
    with (
        serving(Answers(unasked), PLATFORM) as (_, port),
        pytest.raises(PeerError) as caught,
    ):
        connect(port, AUTHORITY, PLATFORM)
    assert_is_not_the_peer(caught.value)


def test_party_tells_the_platforms_other_peers_apart() -> None:
    def who(call: Call, request: Message, caller: Caller) -> Message:
        name = {p.identity.certificate_sha256: p.id for p in (AUTHORITY, OTHER)}
        return wire.HelloResponse(platform=name[caller.certificate_sha256])

    with serving(Answers(who), PLATFORM, AUTHORITY, OTHER) as (_, port):
        for party in (AUTHORITY, OTHER):
            with connect(port, party, PLATFORM) as channel:
                assert greet(channel, "someone else") == party.id


def test_handshake_names_no_peer_to_a_stranger() -> None:
    with serving(Greeter(), PLATFORM, AUTHORITY, OTHER) as (_, port):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # its certificate request is in the clear
        context.set_alpn_protocols(["h2"])
        tls = context.wrap_bio(incoming, outgoing)
        seen = handshake(tls, incoming, outgoing, port)
    assert b"platform.psishare.invalid" in seen
    assert b"authority" not in seen
    assert b"other" not in seen


def handshake(
    tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, port: int
) -> bytes:
    """Shake hands with a port, and return every byte that it sent."""
    seen = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
            except ssl.SSLError:
                return seen
            else:
                return seen
            data = connection.recv(65_536)
            if not data:
                return seen
            seen += data
            incoming.write(data)


def test_two_psishares_speak_tls_1_3_and_no_stranger_is_printed() -> None:
    code = """
import ssl, sys
sys.path.insert(0, sys.argv[1])
import psishare.transport
from transport_parties import *
from psishare.errors import PeerError
platform, authority, stranger = map(make_party, ("platform", "authority", "stranger"))
with serving(Greeter(), platform, authority) as (_, port):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    import socket
    with socket.create_connection(("127.0.0.1", port)) as raw, context.wrap_socket(raw) as tls:
        print(tls.version(), tls.selected_alpn_protocol())
    for identity, pinned in ((stranger, platform), (authority, stranger)):
        try:
            connect(port, identity, pinned, server_name="platform.psishare.invalid")
        except PeerError as error:
            print(error.reason)
"""
    folder = __file__.rsplit("/", 2)[0]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, folder],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["TLSv1.3", "h2", "peer_certificate", "peer_certificate"]
    assert done.stderr == ""
