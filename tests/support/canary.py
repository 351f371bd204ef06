"""Watches the whole test run for what must never be told: keys and prompts in spans, metrics, logs and errors.

Every gateway that a test opens in its own process tells it all spans and metrics. With content switched on, the
prompt may be on spans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, SynchronousMultiSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from claude_grpc.telemetry.export import Export
from claude_grpc.telemetry.sdk.tracer import LeanTracer

CANARY_KEY: Final = "sk-canary-key-that-nobody-may-see"
CANARY_PROMPT: Final = "Why is the sky blue?"
"""What requests of tests ask unless they ask something else; the simulator's answers quote it."""


def canaries_in(*told: object) -> list[str]:
    """The canaries that something holds."""
    text = "\n".join(each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in told)
    return [canary for canary in (CANARY_KEY, CANARY_PROMPT) if canary in text]


@dataclass
class Watch(SpanProcessor):
    """What was found in the telemetry of the gateways of one test; and how much was looked through."""

    found: list[str] = field(default_factory=list)
    spans: int = 0
    points: int = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Look through a span."""
        self.spans += 1
        told = [span.name, span.attributes, span.status.description, *((e.name, e.attributes) for e in span.events)]
        self._look(f"the span {span.name}", *told)

    def opening(self, open_export: Callable[[Mapping[str, str], str], Export]) -> Callable[..., Export]:
        """Instead of ``open_export``: what is told to nobody is told to the watch."""

        def watched(environ: Mapping[str, str], version: str) -> Export:
            export = open_export(environ, version)
            if export.tracer or export.meter or environ.get("OTEL_SDK_DISABLED"):
                return export
            reader = InMemoryMetricReader()
            provider = MeterProvider([reader], shutdown_on_exit=False)

            def close() -> None:
                self._look_through_metrics(reader)
                provider.shutdown()

            return replace(export, tracer=self._tracer(), meter=provider.get_meter("watch"), closers=(close,))

        return watched

    def _tracer(self) -> LeanTracer:
        processor = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]
        processor.add_span_processor(self)
        return LeanTracer(ParentBased(ALWAYS_ON), processor, Resource({}), InstrumentationScope("watch"), SpanLimits())

    def _look_through_metrics(self, reader: InMemoryMetricReader) -> None:
        data = reader.get_metrics_data()
        for metric in _metrics(data):
            self.points += len(metric.data.data_points)
            self._look(f"the metric {metric.name}", *(point.attributes for point in metric.data.data_points))

    def _look(self, where: str, *told: object) -> None:
        self.found += [f"{where}: {canary}" for canary in canaries_in(*told)]


def _metrics(data: Any) -> Iterable[Any]:
    if data is not None:
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                yield from scope.metrics
