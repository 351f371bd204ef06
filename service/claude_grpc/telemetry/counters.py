"""What is counted, with OpenTelemetry's API: it costs nothing while nobody collects."""

from __future__ import annotations

from opentelemetry import metrics

__all__ = ["count_without_deadline"]

_meter = metrics.get_meter("claude_grpc")
_without_deadline = _meter.create_counter(
    "claude_grpc.server.calls_without_deadline",
    unit="{call}",
    description="Calls whose caller would wait for ever, and that the gateway gave a deadline of its own.",
)


def count_without_deadline(method: str) -> None:
    """Count a call whose caller set no deadline."""
    _without_deadline.add(1, {"rpc.method": method})
