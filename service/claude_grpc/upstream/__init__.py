"""The way to the Claude API over HTTP: one client, its transports, bodies and their decoders, and the policies.

``attempts`` puts together what decides about an attempt: ``retry`` (whether and when it is made again), ``budget`` (how
many all calls may repeat), ``breaker`` (whether a model is asked at all). They act on nothing, and time is passed in.
Here a request is bytes and an answer is bytes, lines or server-sent events; what they mean is the codec's to know.
"""

from claude_grpc.upstream.breaker import BreakerPolicy, BreakerSnapshot, BreakerState
from claude_grpc.upstream.budget import RetryBudget
from claude_grpc.upstream.client import UpstreamClient
from claude_grpc.upstream.exchange import Endpoint, Timeouts, UpstreamRequest, UpstreamResponse
from claude_grpc.upstream.failures import api_error
from claude_grpc.upstream.jsonl import JSONLDecoder
from claude_grpc.upstream.multipart import MultipartForm
from claude_grpc.upstream.outcome import Outcome, is_overload, outcome_of
from claude_grpc.upstream.retry import RetryPolicy, asked_wait
from claude_grpc.upstream.sse import ServerSentEvent, SSEDecoder
from claude_grpc.upstream.stream import ByteStream, EventStream, LineStream
from claude_grpc.upstream.transport import environment_proxy, make_transport
from claude_grpc.upstream.upload import Spool, StreamedBody

__all__ = [
    "BreakerPolicy",
    "BreakerSnapshot",
    "BreakerState",
    "ByteStream",
    "Endpoint",
    "EventStream",
    "JSONLDecoder",
    "LineStream",
    "MultipartForm",
    "Outcome",
    "RetryBudget",
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
    "asked_wait",
    "environment_proxy",
    "is_overload",
    "make_transport",
    "outcome_of",
]
