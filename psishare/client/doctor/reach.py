"""Whether a platform can be reached, is the one that is pinned, and knows us as we are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.client.doctor.finding import Finding
from psishare.client.opened_home import open_log, require_role, tls_identity
from psishare.errors import ExitCode
from psishare.exchange.offer import WIRE_VERSION
from psishare.parties.peers import Peers
from psishare.parties.tls import tls_name
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call
from psishare.transport.grpc_client import GrpcChannel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.parties.home import Home

CHECK = "reach"


def platform(home: Home, peer_id: str, address: str, timeout_s: float) -> Iterator[Finding]:
    """Connect to a platform and greet it."""
    require_role(home, "authority")
    peer = Peers(home.peers_path).get(peer_id)
    with GrpcChannel.connect(
        address,
        identity=tls_identity(home),
        pinned=peer.card.certificates(),
        server_name=tls_name(peer.id),
        peer=peer.id,
        timeout_s=timeout_s,
        retry_for_s=0.0,
    ) as channel:
        request = wire.HelloRequest(authority=home.id, wire_versions=[WIRE_VERSION])
        hello: wire.HelloResponse = channel.call(Call.HELLO, request)  # type: ignore[assignment]
    yield from _greeted(home, peer_id, hello)


def _greeted(home: Home, peer_id: str, hello: wire.HelloResponse) -> Iterator[Finding]:
    """Look at what the platform says of itself and of us."""
    size = open_log(home).size
    if WIRE_VERSION not in hello.wire_versions:
        yield Finding.fault(
            CHECK,
            "version_mismatch",
            f"{peer_id} speaks wire versions {list(hello.wire_versions)}, and here is {WIRE_VERSION}",
            mend="Use the same version of psishare on both sides.",
            exit_code=ExitCode.PROTOCOL,
            party=peer_id,
        )
    if hello.known_tree_size > size:
        yield Finding.fault(
            CHECK,
            "log_rolled_back",
            f"{peer_id} has seen {hello.known_tree_size} entries of this party's log, which has {size}",
            mend="The log was restored from an old copy: restore the newest one before going on.",
            exit_code=ExitCode.AUDIT,
        )
    names = ", ".join(name for name in hello.datasets if name.isascii() and name.isprintable())
    yield Finding.fine(CHECK, f"{peer_id} answers, and serves {names or 'nothing'}")
