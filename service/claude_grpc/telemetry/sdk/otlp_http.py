"""The exporters of OTLP over HTTP: the SDK's, with our own encoder for spans."""

from __future__ import annotations

from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from claude_grpc.telemetry.sdk.encoding import SpanEncoder

__all__ = ["MetricExporter", "SpanExporter"]

MetricExporter = OTLPMetricExporter


class SpanExporter(OTLPSpanExporter):
    """Sends spans."""

    def __init__(self, encoder: SpanEncoder, *, timeout: float | None) -> None:
        super().__init__(timeout=timeout)
        self._encoder = encoder
        # No part of the SDK's interface: without it the SDK's own encoder has to do.
        self._sender: Any = getattr(self, "_client", None)

    def export(self, spans: Any) -> SpanExportResult:
        """Send spans, which are ours; what fails is logged, by the sender."""
        if self._sender is None:
            return super().export(self._encoder.sdk_spans(spans))
        sent = self._sender.export(self._encoder.encode(spans))
        return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE
