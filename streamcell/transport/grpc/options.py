"""Options of gRPC channels and servers, each with its reason.

What the names mean: https://github.com/grpc/grpc/blob/master/include/grpc/impl/channel_arg_names.h
"""

from __future__ import annotations

from typing import TypeAlias

from streamcell.limits import KIB, MESSAGE_BYTES

Options: TypeAlias = tuple[tuple[str, int | str], ...]

_KEEPALIVE_MS = 30_000
_KEEPALIVE_TIMEOUT_MS = 20_000
# Frames of HTTP/2 near the largest that it allows: less memory and fewer wake-ups on receipt.
_HTTP2_FRAME_BYTES = 2**24 - 1
# A peer's lanes have a connection each. The rest is for health checks and reflection.
_CALLS_PER_CONNECTION = 4
# Metadata of a call: more is trimmed by chance from the first size on, and refused from the second on.
_METADATA_BYTES = 8 * KIB
_METADATA_MOST_BYTES = 16 * KIB
# Connections of a listener, also those that never become a lane. Older cores do not know the option.
_CONNECTIONS = 16_384
# Identity alone, of none, deflate and gzip: a bit for each.
_NO_COMPRESSION = 1
# How soon pings of peers may follow each other: below every client's interval, above a flood.
_PING_INTERVAL_MS = 10_000
# More than a hub has cells by default: after its restart they come all at once.
_CALLS_WAITING = 8192
_HANDSHAKE_MS = 10_000
_IDLE_CONNECTION_MS = 60_000

_COMMON: Options = (
    # Never -1: a peer must not choose how much memory a message takes.
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.http2.max_frame_size", _HTTP2_FRAME_BYTES),
    # A call with a compressed message ends. Older cores look at a message's size before they inflate it only.
    ("grpc.compression_enabled_algorithms_bitset", _NO_COMPRESSION),
    ("grpc.max_metadata_size", _METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", _METADATA_MOST_BYTES),
    # Finds dead paths under a living call. A stopped process is found by our own Ping.
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 0),
    # Keepalive goes on however long the lane is silent; by default it stops after two pings.
    ("grpc.http2.max_pings_without_data", 0),
)

_CHANNEL: Options = (
    *_COMMON,
    # A connection of its own for each channel. Otherwise two lanes share one.
    ("grpc.use_local_subchannel_pool", 1),
    # A lane that breaks is an event for the link, which knows what to send again; gRPC does not.
    ("grpc.enable_retries", 0),
    # No TXT records are looked up before connecting.
    ("grpc.service_config_disable_resolution", 1),
)

_SERVER: Options = (
    *_COMMON,
    # Otherwise a second server binds a busy port, and the two share the connections by chance.
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", _PING_INTERVAL_MS),
    ("grpc.max_concurrent_streams", _CALLS_PER_CONNECTION),
    ("grpc.max_allowed_incoming_connections", _CONNECTIONS),
    # Calls that have arrived and that the loop has not taken yet: it takes one after the other, and tells those that it
    # does not want when to come again. By default gRPC refuses some from 1,000 on, and all from 3,000, without that.
    ("grpc.server.max_pending_requests", _CALLS_WAITING),
    ("grpc.server.max_pending_requests_hard_limit", 2 * _CALLS_WAITING),
    # Connections that never become a lane: gRPC's own limits are two minutes, and none.
    ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
    ("grpc.max_connection_idle_ms", _IDLE_CONNECTION_MS),
)


def channel_options(*, proxy_url: str, connect_s: float, authority: str = "") -> Options:
    """Return the options of a channel to one peer.

    :param proxy_url: the HTTP proxy by which it is dialled; empty: directly.
    :param connect_s: how long the peer may take to answer a connection.
    :param authority: what the peer is asked for, if that is not what is dialled.
    """
    return (
        *_CHANNEL,
        # What gRPC makes of the environment by itself is another thing than what is said in proxies.py.
        *((("grpc.http_proxy", proxy_url),) if proxy_url else (("grpc.enable_http_proxy", 0),)),
        *((("grpc.default_authority", authority),) if authority else ()),
        # Also the limit for one attempt to connect, which goes on when the channel is closed: by
        # default a socket would stay open for 20 s to a server that accepts and says nothing.
        ("grpc.min_reconnect_backoff_ms", max(1, int(connect_s * 1000))),
    )


def server_options() -> Options:
    """Return the options of a server."""
    return _SERVER
