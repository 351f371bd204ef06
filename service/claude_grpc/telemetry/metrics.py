"""What the metrics are told. Nothing is told per delta; whatever a caller or upstream can choose is a bounded label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from claude_grpc.telemetry import names
from claude_grpc.telemetry.error_types import rpc_error_type
from claude_grpc.telemetry.instruments import Instruments
from claude_grpc.telemetry.labels import BoundedLabel
from claude_grpc.telemetry.meter import Meter
from claude_grpc.telemetry.span import NO_SPAN, Span
from claude_grpc.telemetry.tally import Labels, Reading
from claude_grpc.telemetry.usage import Usage

__all__ = ["Metrics", "ModelCallFacts"]

_MOST_MODELS: Final = 50
_MOST_ERRORS: Final = 60
_NONE: Final = frozenset({""})
_TIERS: Final = frozenset({"", "standard", "priority", "batch"})


@dataclass(slots=True)
class ModelCallFacts:
    """A call of the Claude API that has ended, as the metrics see it.

    Attributes:
        operation: ``chat``, ``count_tokens`` …
        model: The one that was asked; empty where there is none.
        response_model: The one that answered; empty if none did.
        error: Why it failed; empty if it did not.
        seconds: How long it took, with all its attempts.
        usage: Its tokens.
        first_chunk: Seconds to the first event of a stream; None without one.
        chunk_interval: Mean seconds between two events; None with fewer than two.
        span: Its span.
    """

    operation: str
    model: str
    response_model: str
    error: str
    seconds: float
    usage: Usage
    first_chunk: float | None = None
    chunk_interval: float | None = None
    span: Span = NO_SPAN


class Metrics:
    """The metrics of a gateway.

    Args:
        meter: Has the instruments read.
        upstream: Host and port of the Claude API.
    """

    def __init__(self, meter: Meter, upstream: tuple[str, int]) -> None:
        host, port = upstream
        provider: Labels = {names.PROVIDER: names.ANTHROPIC, names.SERVER_ADDRESS: host, names.SERVER_PORT: port}
        self._instruments = Instruments(meter, provider)
        self._models = BoundedLabel(_MOST_MODELS, _NONE)
        self._errors = BoundedLabel(_MOST_ERRORS, _NONE)
        self._tiers = BoundedLabel(len(_TIERS), _TIERS)

    def rpc_started(self, method: str) -> None:
        """An RPC begins."""
        self._instruments.active.add(method)

    def rpc_ended(self, method: str, code: str, seconds: float, span: Span = NO_SPAN) -> None:
        """An RPC has ended with this code."""
        self._instruments.active.add(method, amount=-1)
        self._instruments.rpc_duration.record(seconds, method, code, rpc_error_type(code), span=span)

    def rpc_cancelled(self, method: str, phase: str, cause: str) -> None:
        """An RPC has ended because its caller left, or its time was up."""
        self._instruments.cancels.add(method, phase, cause)

    def rpc_failed(self, method: str, reason: str) -> None:
        """An RPC has failed, with one of the reasons of the status table."""
        self._instruments.failures.add(method, reason)

    def rpc_without_deadline(self, method: str) -> None:
        """An RPC's caller would wait for ever; the gateway gave it a deadline."""
        self._instruments.without_deadline.add(method)

    def fell_back(self, reason: str) -> None:
        """Another model is asked, for this reason."""
        self._instruments.fallbacks.add(reason)

    def exchange_started(self) -> None:
        """An HTTP request is about to be made."""
        self._instruments.exchanges.add(names.STATE_CONNECTING)

    def exchange_sent(self) -> None:
        """It has a connection."""
        self._instruments.exchanges.add(names.STATE_CONNECTING, amount=-1)
        self._instruments.exchanges.add(names.STATE_OPEN)

    def exchange_ended(self, *, sent: bool, outcome: str, retried: bool, held_back: str = "") -> None:
        """It is over; ``retried`` if it failed and is made again, ``held_back`` what has kept it from that."""
        self._instruments.exchanges.add(names.STATE_OPEN if sent else names.STATE_CONNECTING, amount=-1)
        outcome = self._errors.of(outcome, proven=True)
        self._instruments.attempts.add(outcome)
        if retried:
            self._instruments.retries.add(outcome)
        if held_back:
            self._instruments.held_back.add(held_back)

    def model_call_ended(self, call: ModelCallFacts) -> None:
        """A call of the Claude API has ended, well or not."""
        labels = (
            call.operation,
            self._models.of(call.model, proven=bool(call.response_model)),
            self._errors.of(call.error, proven=True),
        )
        if call.operation != names.CHAT:
            self._instruments.operation_duration.record(call.seconds, *labels, span=call.span)
            return
        self._instruments.inference_duration.record(call.seconds, *labels, span=call.span)
        if call.first_chunk is not None:
            self._instruments.first_chunk.record(call.first_chunk, *labels, span=call.span)
        if call.chunk_interval is not None:
            self._instruments.chunk_interval.record(call.chunk_interval, *labels, span=call.span)
        self._count_tokens(call)

    def loop_lag(self, seconds: float) -> None:
        """The event loop ran something so much later than it was due."""
        self._instruments.loop_lag.record(seconds)

    def model_label(self, model: str) -> str:
        """The label of a model, which is its name if upstream has served it."""
        return self._models.of(model)

    def gauge(self, name: str, description: str, unit: str, read: Callable[[], Reading]) -> None:
        """Add a gauge whose values ``read`` knows; ``name`` is one of `names`."""
        self._instruments.gauge(name, description, unit, read)

    def read_gauges(self) -> None:
        """Read all gauges; on the event loop."""
        self._instruments.read_gauges()

    def _count_tokens(self, call: ModelCallFacts) -> None:
        usage = call.usage
        labels = (
            self._models.of(call.model),
            self._models.of(call.response_model, proven=True),
            self._tiers.of(usage.service_tier),
        )
        counts = (usage.input, usage.output, usage.cache_read, usage.cache_write, usage.reasoning)
        for tally, count in zip(self._instruments.tokens, counts, strict=True):
            tally.add(*labels, amount=count)
