"""The way to the Claude API over HTTP: one client, its transports, the retry policy, the decoder of event streams.

Here a request is bytes and an answer is bytes or server-sent events; what they mean is the codec's to know.
"""

from claude_grpc.upstream.client import UpstreamClient
from claude_grpc.upstream.exchange import Endpoint, Timeouts, UpstreamRequest, UpstreamResponse
from claude_grpc.upstream.failures import api_error
from claude_grpc.upstream.retry import Outcome, RetryPolicy
from claude_grpc.upstream.sse import ServerSentEvent, SSEDecoder
from claude_grpc.upstream.stream import EventStream
from claude_grpc.upstream.transport import environment_proxy, make_transport

__all__ = [
    "Endpoint",
    "EventStream",
    "Outcome",
    "RetryPolicy",
    "SSEDecoder",
    "ServerSentEvent",
    "Timeouts",
    "UpstreamClient",
    "UpstreamRequest",
    "UpstreamResponse",
    "api_error",
    "environment_proxy",
    "make_transport",
]
