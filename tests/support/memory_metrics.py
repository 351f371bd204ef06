"""Metrics of a gateway's instruments, read by the SDK and kept in memory."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from claude_grpc.telemetry.sdk.meter import Book, ReadingMeter, WithHistograms


class MemoryReader(WithHistograms, InMemoryMetricReader):
    """Keeps the last metrics that were collected."""


class MemoryMetrics:
    """A meter, and what it has read; histograms are ours, or those of the SDK."""

    def __init__(self, *, ours: bool = True) -> None:
        book = Book() if ours else None
        self._reader = MemoryReader(book)
        self._provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.meter = ReadingMeter(self._provider.get_meter("test"), book)

    def points(self) -> dict[str, list[Any]]:
        """The points of each metric, now."""
        data = self._reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}

    def close(self) -> None:
        """Stop reading."""
        self._provider.shutdown()
