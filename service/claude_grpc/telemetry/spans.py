"""The spans, from the RPC down to each HTTP exchange: how they are called, what they say, and which ends are errors.

A span is given its parent, not found through a context variable: a stream is read in whatever task its caller likes.
The texts of errors stand on none, for they may quote what a caller has sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from claude_grpc.telemetry import names
from claude_grpc.telemetry.error_types import CANCELLED, rpc_error_type
from claude_grpc.telemetry.observer import AttemptEnded, AttemptStarted
from claude_grpc.telemetry.span import (
    CLIENT,
    NO_SPAN,
    SERVER,
    Attributes,
    Shape,
    Span,
    Tracer,
    callers_span,
    traceparent,
)

__all__ = ["Spans"]

# Models and paths are what callers like; beyond so many, each span has a shape of its own.
_MOST_SHAPES: Final = 1000


class Spans:
    """Starts and ends the spans of a gateway.

    Args:
        tracer: Starts traces.
        upstream: Host and port of the Claude API.
        propagates: Whether callers' traces go on here, and go on upstream.
    """

    def __init__(self, tracer: Tracer, upstream: tuple[str, int], *, propagates: bool = True) -> None:
        self._tracer = tracer
        self._propagates = propagates
        self._server: Attributes = {names.SERVER_ADDRESS: upstream[0], names.SERVER_PORT: upstream[1]}
        self._shapes: dict[tuple[str, ...], Shape] = {}

    def start_rpc(self, method: str, metadata: Mapping[str, str]) -> Span:
        """The span of an RPC; its parent is the caller's, if the metadata names one."""
        shape = self._shapes.get((method,)) or self._keep(
            (method,), Shape(method, SERVER, {names.RPC_SYSTEM: names.GRPC, names.RPC_METHOD: method})
        )
        return self._tracer.start(shape, callers_span(metadata) if self._propagates else NO_SPAN)

    def end_rpc(self, span: Span, code: str, attributes: Attributes) -> None:
        """End it with the RPC's status."""
        attributes[names.RPC_STATUS_CODE] = code
        if error := rpc_error_type(code):
            attributes[names.ERROR_TYPE] = error
        span.attributes = attributes
        span.end(failed=bool(error))

    def start_model_call(self, parent: Span, operation: str, model: str, *, links: Sequence[Span] = ()) -> Span:
        """The span of a call of the Claude API, with all its attempts; with links it begins a trace."""
        shape = self._shapes.get((operation, model)) or self._model_call(operation, model)
        linked = [span for span in links if span.trace.id]
        return self._tracer.start(shape, links=linked) if linked else parent.child(shape)

    def end_model_call(self, span: Span, error: str, attributes: Attributes) -> None:
        """End it; ``error`` says why it failed, and is empty if it did not."""
        if error:
            attributes[names.ERROR_TYPE] = error
        span.attributes |= attributes
        span.end(failed=bool(error) and error != CANCELLED)

    def start_attempt(self, parent: Span, attempt: AttemptStarted) -> Span:
        """The span of an HTTP exchange, from before the connection to the end of the answer."""
        key = ("", attempt.method, attempt.url)
        shape = self._shapes.get(key) or self._keep(
            key,
            Shape(
                attempt.method,
                CLIENT,
                {names.HTTP_REQUEST_METHOD: attempt.method, names.URL_FULL: attempt.url, **self._server},
            ),
        )
        span = parent.child(shape)
        if attempt.number > 1 and span.is_recording:
            span.attributes[names.HTTP_REQUEST_RESEND_COUNT] = attempt.number - 1
        return span

    def answer_attempt(self, span: Span, status: int, request_id: str) -> None:
        """Note that its response has begun."""
        if not span.is_recording:
            return
        span.attributes[names.HTTP_RESPONSE_STATUS_CODE] = status
        if request_id:
            span.attributes[names.ANTHROPIC_REQUEST_ID] = request_id

    def end_attempt(self, span: Span, attempt: AttemptEnded) -> None:
        """End it."""
        if not span.is_recording:
            return
        attributes = span.attributes
        if attempt.error:
            attributes[names.ERROR_TYPE] = attempt.error
        if attempt.held_back:
            attributes[names.RETRY_HELD_BACK] = attempt.held_back
        span.end(failed=bool(attempt.error) and attempt.error != CANCELLED)

    def headers(self, span: Span) -> dict[str, str]:
        """What tells upstream of a span."""
        return traceparent(span) if self._propagates else {}

    def _model_call(self, operation: str, model: str) -> Shape:
        attributes: Attributes = {names.OPERATION: operation, names.PROVIDER: names.ANTHROPIC}
        if model:
            attributes[names.REQUEST_MODEL] = model
        name = f"{operation} {model}" if model else operation
        return self._keep((operation, model), Shape(name, CLIENT, attributes | self._server))

    def _keep(self, key: tuple[str, ...], shape: Shape) -> Shape:
        if len(self._shapes) < _MOST_SHAPES:
            self._shapes[key] = shape
        return shape
