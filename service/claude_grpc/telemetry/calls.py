"""What one RPC tells of itself, from its start to its end, and the gateway's telemetry that it is told to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from google.protobuf.message import Message

from claude_grpc.telemetry import names
from claude_grpc.telemetry.content import ContentCapture
from claude_grpc.telemetry.ledger import Ledger
from claude_grpc.telemetry.meter import Meter
from claude_grpc.telemetry.metrics import Metrics
from claude_grpc.telemetry.model_calls import ModelCall
from claude_grpc.telemetry.recorders import Recorders
from claude_grpc.telemetry.span import NO_SPAN, Attributes, Current, Span, Tracer
from claude_grpc.telemetry.spans import Spans

__all__ = ["CallTelemetry", "Telemetry"]


class Telemetry:
    """The telemetry of a gateway. Without arguments it records nothing, and what it is told costs next to nothing.

    Args:
        tracer: Starts traces.
        meter: Has metrics read.
        upstream: Host and port of the Claude API.
        content: How prompts and answers are captured; None for not at all.
        propagates: Whether callers' traces go on here, and go on upstream.

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
        propagates: bool = True,
    ) -> None:
        self.metrics = Metrics(meter or Meter(), upstream)
        self._recorders = Recorders(Spans(tracer or Tracer(), upstream, propagates=propagates), self.metrics, content)

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

    def __init__(self, recorders: Recorders, ledger: Ledger, method: str = "", span: Span = NO_SPAN) -> None:
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

    def current(self) -> Current:
        """Makes the RPC's span the current one, whose ids the log's lines have."""
        return Current(self._span)

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
        return ModelCall(self._recorders, Ledger(), NO_SPAN, operation, links=links)

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
        self._recorders.metrics.rpc_ended(self._method, code, self.ledger.seconds, self._span)
        if reason:
            self._recorders.metrics.rpc_failed(self._method, reason)
        if self._span.is_recording:
            attributes: Attributes = {names.TIMING: timing}
            if reason:
                attributes[names.REASON] = reason
            if self.error_id:
                attributes[names.ERROR_ID] = self.error_id
            self._recorders.spans.end_rpc(self._span, code, attributes)


_NOBODY = Recorders(Spans(Tracer(), ("", 0)), Metrics(Meter(), ("", 0)))
