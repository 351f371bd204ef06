"""Watches the whole test run for what must never be told: keys and prompts in spans, metrics, logs and errors.

Every gateway that a test opens in its own process tells it all spans and metrics. With content switched on, the
prompt may be on spans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from opentelemetry.sdk.trace.sampling import DEFAULT_ON

from claude_grpc.telemetry.export import Export
from claude_grpc.telemetry.sdk.tracer import SamplingTracer
from claude_grpc.telemetry.span import Span
from support.memory_metrics import MemoryMetrics

CANARY_KEY: Final = "sk-canary-key-that-nobody-may-see"
CANARY_PROMPT: Final = "Why is the sky blue?"
"""What requests of tests ask unless they ask something else; the simulator's answers quote it."""


def canaries_in(*told: object) -> list[str]:
    """The canaries that something holds."""
    text = "\n".join(each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in told)
    return [canary for canary in (CANARY_KEY, CANARY_PROMPT) if canary in text]


@dataclass
class Watch:
    """What was found in the telemetry of the gateways of one test; and how much was looked through."""

    found: list[str] = field(default_factory=list)
    spans: int = 0
    points: int = 0

    def keep(self, span: Span) -> None:
        """Look through a span."""
        self.spans += 1
        told = [span.shape.name, span.shape.attributes, span.attributes, *(event[:2] for event in span.events)]
        self._look(f"the span {span.shape.name}", *told)

    def opening(self, open_export: Callable[[Mapping[str, str], str], Export]) -> Callable[..., Export]:
        """Instead of ``open_export``: what is told to nobody is told to the watch."""

        def watched(environ: Mapping[str, str], version: str) -> Export:
            export = open_export(environ, version)
            if export.tracer or export.meter or environ.get("OTEL_SDK_DISABLED"):
                return export
            metrics = MemoryMetrics()
            tracer = SamplingTracer(DEFAULT_ON, self.keep)
            closers = (lambda: self._look_through_metrics(metrics.points()), metrics.close)
            return replace(export, tracer=tracer, meter=metrics.meter, closers=closers)

        return watched

    def _look_through_metrics(self, metrics: Mapping[str, list[Any]]) -> None:
        for name, points in metrics.items():
            self.points += len(points)
            self._look(f"the metric {name}", *(point.attributes for point in points))

    def _look(self, where: str, *told: object) -> None:
        self.found += [f"{where}: {canary}" for canary in canaries_in(*told)]
