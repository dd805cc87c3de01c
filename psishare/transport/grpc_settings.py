"""The numbers that both ends of a gRPC connection agree on, and the options that carry them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.transport.message import MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from typing import Final

Options = list[tuple[str, int | str]]

PING_EVERY_S: Final = 20
"""A peer whose machine is gone sends nothing, not even an end: pings find it out."""

PING_ANSWER_S: Final = 10
PING_SPARING_S: Final = 10
"""A server hangs up on a client that pings more often than this."""

HANDSHAKE_S: Final = 10
"""For TCP, TLS and the first frames of HTTP/2, at either end."""

IDLE_CONNECTION_S: Final = 600
STREAMS_PER_CONNECTION: Final = 64
"""A client holds further calls back by itself."""

RECONNECT_FIRST_S: Final = 0.1
RECONNECT_MAX_S: Final = 1.0

IDENTITY_ONLY: Final = 1 << 0
"""The set of compression algorithms with no member but "none"."""


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def common_options() -> Options:
    """Return what holds at both ends.

    No compression: the size limit is checked on the compressed bytes, so a small message could grow
    to gigabytes; and what an attacker can mix with secrets must not be compressed with them.
    """
    return [
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.compression_enabled_algorithms_bitset", IDENTITY_ONLY),
        ("grpc.keepalive_time_ms", _ms(PING_EVERY_S)),
        ("grpc.keepalive_timeout_ms", _ms(PING_ANSWER_S)),
    ]


def client_options(server_name: str) -> Options:
    """Return the options of a channel.

    No proxy from the environment, no service configuration out of DNS, no connection shared with
    other channels of the process.

    Args:
        server_name: the DNS name that the peer's certificate must bear.
    """
    return [
        *common_options(),
        ("grpc.ssl_target_name_override", server_name),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", _ms(RECONNECT_FIRST_S)),
        ("grpc.min_reconnect_backoff_ms", _ms(HANDSHAKE_S)),  # in truth: of an attempt
        ("grpc.max_reconnect_backoff_ms", _ms(RECONNECT_MAX_S)),
    ]


def server_options(*, max_connections: int) -> Options:
    """Return the options of a server.

    Args:
        max_connections: open at once; further ones are turned away before any handshake.
    """
    return [
        *common_options(),
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION),
        ("grpc.max_allowed_incoming_connections", max_connections),
        ("grpc.server_handshake_timeout_ms", _ms(HANDSHAKE_S)),
        ("grpc.max_connection_idle_ms", _ms(IDLE_CONNECTION_S)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(PING_SPARING_S)),
    ]
