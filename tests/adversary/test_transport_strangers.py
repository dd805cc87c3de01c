"""Who gets in: nobody but the holder of a certificate that is pinned, byte for byte."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from transport_parties import (
    Answers,
    Party,
    connect,
    greet,
    hostile_authority,
    hostile_platform,
    make_party,
    serving,
    without_grpc_settings,
)

from psishare.errors import ExitCode, PeerError, PsishareError, TransportError
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


def assert_is_not_the_peer(error: PsishareError, kind: type[PeerError] = PeerError) -> None:
    assert type(error) is kind
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
    # It may be the line that was cut: trying again may help.
    assert_is_not_the_peer(caught.value, TransportError)
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
            channel.unary_unary("/psishare.v1.Psishare/Hello")(b"", timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_platform_refuses_plaintext() -> None:
    with (
        serving(Answers(unasked), PLATFORM, AUTHORITY) as (_, port),
        grpc.insecure_channel(f"ipv4:127.0.0.1:{port}") as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        channel.unary_unary("/psishare.v1.Psishare/Hello")(b"", timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_platform_without_peers_lets_nobody_in() -> None:
    with (
        serving(Answers(unasked), PLATFORM) as (_, port),
        pytest.raises(PeerError) as caught,
    ):
        connect(port, AUTHORITY, PLATFORM)
    assert_is_not_the_peer(caught.value, TransportError)


def test_party_tells_the_platforms_other_peers_apart() -> None:
    def who(call: Call, request: Message, caller: Caller) -> Message:
        name = {p.identity.certificate_sha256: p.id for p in (AUTHORITY, OTHER)}
        return wire.HelloResponse(platform=name[caller.certificate_sha256])

    with serving(Answers(who), PLATFORM, AUTHORITY, OTHER) as (_, port):
        for party in (AUTHORITY, OTHER):
            with connect(port, party, PLATFORM) as channel:
                assert greet(channel, "someone else") == party.id


HANDSHAKES = """
import socket, ssl, sys
sys.path.insert(0, sys.argv[1])
import psishare.transport
from psishare.errors import PeerError, TransportError
from transport_parties import *

platform, authority, stranger = map(make_party, ("platform", "authority", "stranger"))


def shake_hands(port, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    incoming, outgoing, seen = ssl.MemoryBIO(), ssl.MemoryBIO(), b""
    tls = context.wrap_bio(incoming, outgoing)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
            except ssl.SSLError as error:
                return error.reason, seen
            else:
                return tls.version(), seen
            data = connection.recv(65_536)
            if not data:
                return "hung up", seen
            seen += data
            incoming.write(data)


with serving(Greeter(), platform, authority) as (_, port):
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code after ``HANDSHAKES`` in a process that has not imported gRPC yet."""
    folder = __file__.rsplit("/", 2)[0]
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", HANDSHAKES + code, folder],
        env={**without_grpc_settings(), **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def test_stranger_is_turned_away_without_a_printed_line() -> None:
    done = run("""
    for identity, pinned in ((stranger, platform), (authority, stranger)):
        try:
            connect(port, identity, pinned, server_name=platform.server_name)
        except PeerError as error:
            print(error.reason)
""")
    assert done.stdout.split() == ["peer_certificate", "peer_certificate"]
    assert done.stderr == ""


def test_platform_speaks_tls_1_3_and_nothing_older() -> None:
    done = run("""
    print(shake_hands(port, ssl.TLSVersion.TLSv1_3)[0])
    print(shake_hands(port, ssl.TLSVersion.TLSv1_2)[0])
    with connect(port, authority, platform) as channel:
        print(greet(channel))
""")
    newest, older, ours = done.stdout.splitlines()
    assert (newest, ours) == ("TLSv1.3", "authority")
    assert older in {"SSLV3_ALERT_HANDSHAKE_FAILURE", "hung up"}


def test_authority_speaks_tls_1_3_and_nothing_older() -> None:
    done = run("""
    pass
import os, sys, tempfile, threading

with tempfile.NamedTemporaryFile() as file:
    file.write(platform.pem + platform.key_pem)
    file.flush()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file.name)
context.maximum_version = ssl.TLSVersion.TLSv1_2
context.set_alpn_protocols(["h2"])
listener = socket.create_server(("127.0.0.1", 0))


def accept():
    connection, _ = listener.accept()
    try:
        context.wrap_socket(connection, server_side=True)
    except ssl.SSLError as error:
        sys.stdout.write(error.reason + "\\n")


thread = threading.Thread(target=accept)
thread.start()
try:
    connect(listener.getsockname()[1], authority, platform, retry_for_s=0)
except TransportError as error:
    sys.stdout.write(error.reason + "\\n")
thread.join()
""")
    told = set(done.stdout.split())
    assert "NO_SHARED_CIPHER" in told
    # Which of the two it is, the moment decides at which the other end hangs up.
    assert told <= {"NO_SHARED_CIPHER", "peer_unreachable", "peer_certificate"}
    assert len(told) == 2


def test_handshake_names_no_peer_to_a_stranger() -> None:
    # TLS 1.2, let in for once, because it requests the client's certificate in the clear.
    done = run(
        """
    version, seen = shake_hands(port, ssl.TLSVersion.TLSv1_2)
    print(b"platform.psishare.invalid" in seen, b"authority" in seen)
""",
        GRPC_SSL_CIPHER_SUITES="ECDHE-ECDSA-AES128-GCM-SHA256",
    )
    assert done.stdout.split() == ["True", "False"]
