"""The engine: the one place that makes the server that speaks HTTP/2 and gRPC.

What is served is not known here. Another engine is one more choice here, if it runs handlers as ``grpc.aio`` does; it
is one when the tests of `claude_grpc.rpc` pass over it.
"""

from __future__ import annotations

import grpc

from claude_grpc.config import Settings

__all__ = ["make_server"]

# Clients may ping every 10 s, also when they are silent; what comes more often is answered with GOAWAY.
_LEAST_PING_SECONDS = 9.0
# Connections that never say what they want are closed.
_HANDSHAKE_SECONDS = 10.0


def make_server(settings: Settings) -> grpc.aio.Server:
    """A server without handlers or port, which has not been started."""
    return grpc.aio.server(options=_options(settings))


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.max_send_message_length", -1),
        # A second server on the port is a mistake that should be told; workers share it.
        ("grpc.so_reuseport", int(settings.workers > 1)),
        # What may come of a request before it is asked for, instead of a guess that grows while we are slow: neither an
        # upload nor what was not let in yet must pile up here. 2 MiB are all that 300 Mbit/s bring in 50 ms.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 2 * 1024 * 1024),
        ("grpc.http2.min_ping_interval_without_data_ms", int(_LEAST_PING_SECONDS * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        # And we ask after peers that are gone without a word, as often as it takes: by default gRPC would stop asking
        # who takes nothing.
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.keepalive_time_ms", int(settings.keepalive_interval * 1000)),
        ("grpc.keepalive_timeout_ms", int(settings.keepalive_timeout * 1000)),
        # The one before alone does not end a connection whose kernel still answers; this has a minute by default.
        ("grpc.http2.ping_timeout_ms", int(settings.keepalive_timeout * 1000)),
        ("grpc.max_connection_idle_ms", int(settings.max_connection_idle * 1000)),
        ("grpc.server_handshake_timeout_ms", int(_HANDSHAKE_SECONDS * 1000)),
    ]
