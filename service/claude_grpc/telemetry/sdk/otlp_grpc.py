"""The exporters of OTLP over gRPC: the SDK's, with our own encoder for spans."""

from __future__ import annotations

from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from claude_grpc.telemetry.sdk.encoding import SpanEncoder

__all__ = ["MetricExporter", "SpanExporter"]

MetricExporter = OTLPMetricExporter


class SpanExporter(OTLPSpanExporter):
    """Sends spans."""

    def __init__(self, encoder: SpanEncoder, *, timeout: float | None) -> None:
        super().__init__(timeout=timeout)
        self._encoder = encoder

    def _translate_data(self, data: Any) -> ExportTraceServiceRequest:
        return ExportTraceServiceRequest.FromString(self._encoder.encode(data))
