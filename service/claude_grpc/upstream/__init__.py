"""The way to the Claude API over HTTP: one client, its transports, the retry policy, bodies and their decoders.

Here a request is bytes and an answer is bytes, lines or server-sent events; what they mean is the codec's to know.
"""

from claude_grpc.upstream.client import UpstreamClient
from claude_grpc.upstream.exchange import Endpoint, Timeouts, UpstreamRequest, UpstreamResponse
from claude_grpc.upstream.failures import api_error
from claude_grpc.upstream.jsonl import JSONLDecoder
from claude_grpc.upstream.multipart import MultipartForm
from claude_grpc.upstream.retry import Outcome, RetryPolicy
from claude_grpc.upstream.sse import ServerSentEvent, SSEDecoder
from claude_grpc.upstream.stream import ByteStream, EventStream, LineStream
from claude_grpc.upstream.transport import environment_proxy, make_transport
from claude_grpc.upstream.upload import Spool, StreamedBody

__all__ = [
    "ByteStream",
    "Endpoint",
    "EventStream",
    "JSONLDecoder",
    "LineStream",
    "MultipartForm",
    "Outcome",
    "RetryPolicy",
    "SSEDecoder",
    "ServerSentEvent",
    "Spool",
    "StreamedBody",
    "Timeouts",
    "UpstreamClient",
    "UpstreamRequest",
    "UpstreamResponse",
    "api_error",
    "environment_proxy",
    "make_transport",
]
