"""The spans, from the RPC down to each HTTP exchange: how they are called, what they say, and which ends are errors.

A span is given its parent, not found through a context variable: a stream is read in whatever task its caller likes.
The texts of errors stand on none, for they may quote what a caller has sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.util.types import AttributeValue

from claude_grpc.telemetry import names
from claude_grpc.telemetry.error_types import CANCELLED
from claude_grpc.telemetry.observer import AttemptEnded, AttemptStarted

__all__ = ["Attributes", "Spans"]

Attributes = dict[str, AttributeValue]

# Of a server, by the conventions; the others are the caller's doing.
_ERROR_CODES: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_ERROR: Final = Status(StatusCode.ERROR)
_TRACEPARENT: Final = "traceparent"


class Spans:
    """Starts and ends the spans of a gateway.

    Args:
        tracer: Makes them; the one that does nothing if there are to be no traces.
        upstream: Host and port of the Claude API.
    """

    def __init__(self, tracer: Tracer, upstream: tuple[str, int]) -> None:
        self._tracer = tracer
        self._fields = frozenset(propagate.get_global_textmap().fields)
        self._server: Attributes = {names.SERVER_ADDRESS: upstream[0], names.SERVER_PORT: upstream[1]}

    def start_rpc(self, method: str, metadata: Mapping[str, str]) -> Span:
        """The span of an RPC; its parent is the caller's, if the metadata names one."""
        traced = not self._fields.isdisjoint(metadata)
        parent = propagate.extract(metadata, Context()) if traced else Context()
        attributes: Attributes = {names.RPC_SYSTEM: names.GRPC, names.RPC_METHOD: method}
        return self._tracer.start_span(method, parent, SpanKind.SERVER, attributes)

    def end_rpc(self, span: Span, code: str, attributes: Attributes) -> None:
        """End it with the RPC's status."""
        attributes[names.RPC_STATUS_CODE] = code
        if code != names.OK:
            attributes[names.ERROR_TYPE] = code
        _end(span, attributes, failed=code in _ERROR_CODES)

    def start_model_call(self, parent: Span, operation: str, model: str, *, links: Sequence[Span] = ()) -> Span:
        """The span of a call of the Claude API, with all its attempts; with links it begins a trace."""
        attributes: Attributes = {names.OPERATION: operation, names.PROVIDER: names.ANTHROPIC}
        if model:
            attributes[names.REQUEST_MODEL] = model
        name = f"{operation} {model}" if model else operation
        linked = [Link(span.get_span_context()) for span in links if span.get_span_context().is_valid]
        if linked:
            return self._tracer.start_span(name, Context(), SpanKind.CLIENT, attributes | self._server, linked)
        return self._start_child(parent, name, attributes | self._server)

    def end_model_call(self, span: Span, error: str, attributes: Attributes) -> None:
        """End it; ``error`` says why it failed, and is empty if it did not."""
        if error:
            attributes[names.ERROR_TYPE] = error
        _end(span, attributes, failed=bool(error) and error != CANCELLED)

    def start_attempt(self, parent: Span, attempt: AttemptStarted) -> Span:
        """The span of an HTTP exchange, from before the connection to the end of the answer."""
        attributes: Attributes = {names.HTTP_REQUEST_METHOD: attempt.method, names.URL_PATH: attempt.path}
        if attempt.number > 1:
            attributes[names.HTTP_REQUEST_RESEND_COUNT] = attempt.number - 1
        return self._start_child(parent, attempt.method, attributes | self._server)

    def end_attempt(self, span: Span, attempt: AttemptEnded) -> None:
        """End it."""
        attributes: Attributes = {}
        if attempt.status is not None:
            attributes[names.HTTP_RESPONSE_STATUS_CODE] = attempt.status
        if attempt.request_id:
            attributes[names.ANTHROPIC_REQUEST_ID] = attempt.request_id
        if attempt.error:
            attributes[names.ERROR_TYPE] = attempt.error
        if attempt.held_back:
            attributes[names.RETRY_HELD_BACK] = attempt.held_back
        _end(span, attributes, failed=bool(attempt.error) and attempt.error != CANCELLED)

    def headers(self, span: Span) -> dict[str, str]:
        """What tells upstream of its parent: the W3C header, without the vendors' state and the caller's baggage."""
        context = span.get_span_context()
        if not context.is_valid or _TRACEPARENT not in self._fields:
            return {}
        return {_TRACEPARENT: f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"}

    def _start_child(self, parent: Span, name: str, attributes: Attributes) -> Span:
        if not parent.get_span_context().is_valid:
            return INVALID_SPAN
        return self._tracer.start_span(name, set_span_in_context(parent, Context()), SpanKind.CLIENT, attributes)


def _end(span: Span, attributes: Attributes, *, failed: bool) -> None:
    span.set_attributes(attributes)
    if failed:
        span.set_status(_ERROR)
    span.end()
