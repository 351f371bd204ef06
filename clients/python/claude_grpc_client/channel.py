"""Opens the connection to a gateway, before any request.

The one place that knows gRPC's channel options. It sends nothing, and opens nothing until it is asked to.
"""

from __future__ import annotations

from importlib.resources import files

import grpc
from grpc import aio

from claude_grpc import __version__

__all__ = ["CHANNEL_OPTIONS", "DEFAULT_TARGET", "DEFAULT_TIMEOUT", "open_async_channel", "open_channel"]

DEFAULT_TARGET = "127.0.0.1:50051"

# Seconds. Long answers with much thinking take many minutes; a caller who knows better says so. More than the service
# config has for a method is not waited.
DEFAULT_TIMEOUT = 3600.0

# Room for the API's 32 MB bodies and what protobuf adds to them.
_MAX_MESSAGE_BYTES = 40 * 1024 * 1024

CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.primary_user_agent", f"claude-grpc-client/{__version__}"),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    # How long each method may take, and which are tried again. Where that is unsafe, the gateway itself forbids it.
    ("grpc.service_config", files("claude_grpc_client").joinpath("service_config.json").read_text()),
    # With the default of 256 KiB, gRPC gives up retrying a larger prompt without a word.
    ("grpc.per_rpc_retry_buffer_size", _MAX_MESSAGE_BYTES),
    # The gateway permits a ping every 10 s. Other servers may answer GOAWAY too_many_pings.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Without it gRPC waits a minute for the answer to a ping, whatever the option before says.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Claude may think for minutes without a byte; the default stops pinging such a connection after two pings.
    ("grpc.http2.max_pings_without_data", 0),
)


def open_channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    """Return a blocking channel; without credentials, in plain text."""
    if credentials is None:
        return grpc.insecure_channel(target, CHANNEL_OPTIONS)
    return grpc.secure_channel(target, credentials, CHANNEL_OPTIONS)


def open_async_channel(target: str, credentials: grpc.ChannelCredentials | None) -> aio.Channel:
    """Return a channel for the running event loop; without credentials, in plain text."""
    if credentials is None:
        return aio.insecure_channel(target, CHANNEL_OPTIONS)
    return aio.secure_channel(target, credentials, CHANNEL_OPTIONS)
