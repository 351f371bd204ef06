"""Makes tracers and meters of the OpenTelemetry SDK. The only module that knows it and its exporters.

Exporters work in threads of their own, with bounded queues: a collector that is slow or gone costs a call nothing, and
what cannot be sent is dropped. What the SDK reads of ``OTEL_*`` by itself (sampling, limits, intervals, headers,
certificates) is left to it.
"""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.trace import Tracer

from claude_grpc.config import ConfigurationError
from claude_grpc.telemetry import names
from claude_grpc.telemetry.console import TraceTree, list_metrics

__all__ = ["make_resource", "open_metrics", "open_traces"]

Closer = Callable[[], object]

# The exporters' own 10 s would be waited for again and again while a gateway stops.
_EXPORT_SECONDS: Final = 2.0
_OTLP_MODULES: Final = {
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc",
}

_log = logging.getLogger(__name__)


class _GatewayResource(Resource):
    """Reckons its hash once: the exporters ask for it with every span, and it costs half as much as the span."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)


def make_resource(environ: Mapping[str, str], version: str) -> Resource:
    """Who we are: what the environment says, and what it does not say."""
    told = Resource.create()
    own = {names.SERVICE_VERSION: version, names.SERVICE_INSTANCE_ID: str(uuid.uuid4())}
    missing = {name: value for name, value in own.items() if name not in told.attributes}
    if not environ.get("OTEL_SERVICE_NAME") and names.SERVICE_NAME not in environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        missing[names.SERVICE_NAME] = names.SERVICE
    return _GatewayResource(told.merge(Resource(missing)))


def open_traces(exporters: list[str], resource: Resource, environ: Mapping[str, str]) -> tuple[Tracer, list[Closer]]:
    """A tracer with these exporters, and what closes it."""
    # Not at the interpreter's exit: that would wait for a collector that is gone as long as it likes.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for name in exporters:
        provider.add_span_processor(_span_processor(name, environ))
    return provider.get_tracer(names.SCOPE, schema_url=names.SCHEMA_URL), [provider.shutdown]


def open_metrics(exporters: list[str], resource: Resource, environ: Mapping[str, str]) -> tuple[Meter, list[Closer]]:
    """A meter with these exporters, and what closes it."""
    closers: list[Closer] = []
    readers = [_metric_reader(name, environ, closers) for name in exporters]
    provider = MeterProvider(readers, resource, shutdown_on_exit=False)
    return provider.get_meter(names.SCOPE, schema_url=names.SCHEMA_URL), [provider.shutdown, *closers]


def _span_processor(name: str, environ: Mapping[str, str]) -> SpanProcessor:
    if name == "console":
        return SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stderr, formatter=TraceTree()))
    return BatchSpanProcessor(_otlp("TRACES", name, environ, "trace_exporter", "OTLPSpanExporter"))


def _metric_reader(name: str, environ: Mapping[str, str], closers: list[Closer]) -> MetricReader:
    if name == "prometheus":
        return _prometheus(environ, closers)
    if name == "console":
        return PeriodicExportingMetricReader(ConsoleMetricExporter(out=sys.stderr, formatter=list_metrics))
    return PeriodicExportingMetricReader(_otlp("METRICS", name, environ, "metric_exporter", "OTLPMetricExporter"))


def _otlp(signal: str, name: str, environ: Mapping[str, str], module: str, kind: str) -> Any:
    if name != "otlp":
        raise ConfigurationError(
            f"OTEL_{signal}_EXPORTER: there is no {name}; there are otlp, console and none"
            f"{'' if signal == 'TRACES' else ', and prometheus'}"
        )
    own, shared = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = environ.get(own) or environ.get(shared) or "http/protobuf"
    if protocol not in _OTLP_MODULES:
        raise ConfigurationError(f"{shared}: must be one of {', '.join(_OTLP_MODULES)}")
    timeouts = ("OTEL_EXPORTER_OTLP_TIMEOUT", f"OTEL_EXPORTER_OTLP_{signal}_TIMEOUT")
    exporter = getattr(import_module(f"{_OTLP_MODULES[protocol]}.{module}"), kind)
    return exporter(timeout=None if any(map(environ.get, timeouts)) else _EXPORT_SECONDS)


def _prometheus(environ: Mapping[str, str], closers: list[Closer]) -> MetricReader:
    # Only this exporter needs them.
    from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415
    from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415

    registry = CollectorRegistry()
    host = environ.get("OTEL_EXPORTER_PROMETHEUS_HOST") or "localhost"
    port = environ.get("OTEL_EXPORTER_PROMETHEUS_PORT") or "9464"
    try:
        server, _ = start_http_server(int(port), host, registry)
    except (OSError, OverflowError, ValueError):
        raise ConfigurationError(f"OTEL_EXPORTER_PROMETHEUS_PORT: cannot listen on {host}:{port}") from None
    closers += [server.shutdown, server.server_close]
    _log.info("Metrics can be scraped", extra={"url": f"http://{host}:{server.server_port}/metrics"})
    return PrometheusMetricReader(scope_info_enabled=False, registry=registry)
