"""What one RPC tells of itself, from its start to its end, and the gateway's telemetry that it is told to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from google.protobuf.message import Message
from opentelemetry import context as otel_context
from opentelemetry.metrics import Meter, NoOpMeter
from opentelemetry.trace import INVALID_SPAN, NoOpTracer, Span, Tracer, set_span_in_context

from claude_grpc.telemetry import names
from claude_grpc.telemetry.content import ContentCapture
from claude_grpc.telemetry.ledger import Ledger
from claude_grpc.telemetry.metrics import Metrics
from claude_grpc.telemetry.model_calls import ModelCall
from claude_grpc.telemetry.recorders import Recorders
from claude_grpc.telemetry.spans import Attributes, Spans

__all__ = ["CallTelemetry", "Telemetry"]


class Telemetry:
    """The telemetry of a gateway. Without arguments it records nothing, and what it is told costs next to nothing.

    Args:
        tracer: Makes spans.
        meter: Makes metrics.
        upstream: Host and port of the Claude API.
        content: How prompts and answers are captured; None for not at all.

    Attributes:
        metrics: For what is not told by a call.
    """

    def __init__(
        self,
        tracer: Tracer | None = None,
        meter: Meter | None = None,
        *,
        upstream: tuple[str, int] = ("", 0),
        content: ContentCapture | None = None,
    ) -> None:
        self.metrics = Metrics(meter or NoOpMeter(names.SCOPE), upstream)
        self._recorders = Recorders(Spans(tracer or NoOpTracer(), upstream), self.metrics, content)

    def call(self, method: str, metadata: Mapping[str, str], deadline: float | None) -> CallTelemetry:
        """Note that an RPC begins."""
        self.metrics.rpc_started(method)
        span = self._recorders.spans.start_rpc(method, metadata)
        return CallTelemetry(self._recorders, Ledger(deadline), method, span)


class CallTelemetry:
    """One RPC.

    Attributes:
        ledger: Where its time goes.
        model_call: The last call of the Claude API that was made for it; None if there was none.
        error_id: Under which the log has a failure of the gateway itself; empty if there was none.
    """

    def __init__(self, recorders: Recorders, ledger: Ledger, method: str = "", span: Span = INVALID_SPAN) -> None:
        self.ledger = ledger
        self.model_call: ModelCall | None = None
        self.error_id = ""
        self._recorders = recorders
        self._method = method
        self._span = span

    @classmethod
    def silent(cls) -> CallTelemetry:
        """One that is told to nobody."""
        return cls(_NOBODY, Ledger())

    @contextmanager
    def current(self) -> Iterator[None]:
        """Makes the RPC's span the current one, whose id the log's lines have."""
        if not self._span.get_span_context().is_valid:
            yield
            return
        token = otel_context.attach(set_span_in_context(self._span))
        try:
            yield
        finally:
            otel_context.detach(token)

    def calls_upstream(
        self, operation: str, params: Message | None = None, *, streams: bool = False, fallback: str = ""
    ) -> ModelCall:
        """A call of the Claude API that begins now, and is to be entered; the arguments are its own."""
        self.model_call = ModelCall(
            self._recorders, self.ledger, self._span, operation, params, streams=streams, fallback=fallback
        )
        return self.model_call

    def polls_upstream(self, operation: str, watchers: Iterable[CallTelemetry]) -> ModelCall:
        """A call of the Claude API for several RPCs at once, which begins now: a trace of its own, linked to theirs."""
        links = [watcher._span for watcher in watchers]  # noqa: SLF001 # its own kind
        return ModelCall(self._recorders, Ledger(), INVALID_SPAN, operation, links=links)

    def without_deadline(self) -> None:
        """Note that the RPC's caller would wait for ever."""
        self._recorders.metrics.rpc_without_deadline(self._method)

    def cancelled(self) -> str:
        """Note that the RPC was cancelled; return why, as a gRPC code."""
        code = names.DEADLINE_EXCEEDED if self.ledger.is_late else names.CANCELLED
        self._recorders.metrics.rpc_cancelled(self._method, self.ledger.phase.value, code)
        return code

    def out_of_time(self) -> None:
        """Note that the RPC has no time left, in whatever phase it is."""
        self._recorders.metrics.rpc_cancelled(self._method, self.ledger.phase.value, names.DEADLINE_EXCEEDED)

    def ended(self, code: str, reason: str, *, timing: str) -> None:
        """Note that the RPC has ended with a code; ``reason`` as in ``ErrorInfo``, ``timing`` as in the trailers."""
        self._recorders.metrics.rpc_ended(self._method, code, self.ledger.seconds)
        if reason:
            self._recorders.metrics.rpc_failed(self._method, reason)
        if self._span.is_recording():
            attributes: Attributes = {names.TIMING: timing}
            if reason:
                attributes[names.REASON] = reason
            if self.error_id:
                attributes[names.ERROR_ID] = self.error_id
            self._recorders.spans.end_rpc(self._span, code, attributes)


_NOBODY = Recorders(Spans(NoOpTracer(), ("", 0)), Metrics(NoOpMeter(names.SCOPE), ("", 0)))
