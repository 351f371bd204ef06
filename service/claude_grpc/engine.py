"""The engine: the one place that makes the server that speaks HTTP/2 and gRPC.

What is served is not known here. Another engine is one more choice here, if it runs handlers as ``grpc.aio`` does; it
is one when the tests of `claude_grpc.rpc` pass over it.
"""

from __future__ import annotations

import grpc

from claude_grpc.config import Settings

__all__ = ["make_server"]


def make_server(settings: Settings) -> grpc.aio.Server:
    """A server without handlers or port, which has not been started."""
    return grpc.aio.server(options=_options(settings))


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.max_send_message_length", -1),
        # A second server on the port is a mistake that should be told; workers share it.
        ("grpc.so_reuseport", int(settings.workers > 1)),
        # Clients may ping every 10 s, also when they are silent; the default answers that with GOAWAY.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # And we ask after peers that are gone without a word.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # What may come of a request before it is asked for, instead of a guess that grows while we are slow: an upload
        # must not pile up here. In 2 MiB is all that a link of 300 Mbit/s brings in 50 ms.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 2 * 1024 * 1024),
        # Connections that never say what they want.
        ("grpc.server_handshake_timeout_ms", 10_000),
    ]
