"""Makes tracers and meters of the OpenTelemetry SDK, as the environment says.

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
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Tracer

from claude_grpc.config import ConfigurationError
from claude_grpc.telemetry import names
from claude_grpc.telemetry.console import TraceTree, list_metrics
from claude_grpc.telemetry.sdk.tracer import LeanTracer

__all__ = ["make_resource", "open_metrics", "open_traces"]

Closer = Callable[[], object]

# The exporters' own 10 s would be waited for again and again while a gateway stops.
_EXPORT_SECONDS: Final = 2.0
# Each brings a library for its protocol, so only the one that is asked for is imported.
_OTLP_MODULES: Final = {
    "http/protobuf": "claude_grpc.telemetry.sdk.otlp_http",
    "grpc": "claude_grpc.telemetry.sdk.otlp_grpc",
}

_log = logging.getLogger(__name__)


def make_resource(environ: Mapping[str, str], version: str) -> Resource:
    """Who we are: what the environment says, and what it does not say."""
    told = Resource.create()
    own = {names.SERVICE_VERSION: version, names.SERVICE_INSTANCE_ID: str(uuid.uuid4())}
    missing = {name: value for name, value in own.items() if name not in told.attributes}
    if not environ.get("OTEL_SERVICE_NAME") and names.SERVICE_NAME not in environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        missing[names.SERVICE_NAME] = names.SERVICE
    return told.merge(Resource(missing))


def open_traces(
    exporters: list[str], resource: Resource, environ: Mapping[str, str], version: str
) -> tuple[Tracer, list[Closer]]:
    """A tracer with these exporters, and what closes it."""
    processor = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]
    for name in exporters:
        processor.add_span_processor(_span_processor(name, environ))
    # The provider knows which sampler the environment asks for. It is not to close anything at the interpreter's exit:
    # that would wait for a collector that is gone as long as it likes.
    sampler = TracerProvider(resource=resource, shutdown_on_exit=False).sampler
    scope = InstrumentationScope(names.SCOPE, version, names.SCHEMA_URL)
    return LeanTracer(sampler, processor, resource, scope, SpanLimits()), [processor.shutdown]


def open_metrics(
    exporters: list[str], resource: Resource, environ: Mapping[str, str], version: str
) -> tuple[Meter, list[Closer]]:
    """A meter with these exporters, and what closes it."""
    closers: list[Closer] = []
    readers = [_metric_reader(name, environ, closers) for name in exporters]
    provider = MeterProvider(readers, resource, shutdown_on_exit=False)
    return provider.get_meter(names.SCOPE, version, names.SCHEMA_URL), [provider.shutdown, *closers]


def _span_processor(name: str, environ: Mapping[str, str]) -> SpanProcessor:
    if name == "console":
        return SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stderr, formatter=TraceTree()))
    return BatchSpanProcessor(_otlp("TRACES", name, environ).SpanExporter(timeout=_timeout("TRACES", environ)))


def _metric_reader(name: str, environ: Mapping[str, str], closers: list[Closer]) -> MetricReader:
    if name == "prometheus":
        return _prometheus(environ, closers)
    if name == "console":
        return PeriodicExportingMetricReader(ConsoleMetricExporter(out=sys.stderr, formatter=list_metrics))
    return PeriodicExportingMetricReader(
        _otlp("METRICS", name, environ).MetricExporter(timeout=_timeout("METRICS", environ))
    )


def _otlp(signal: str, name: str, environ: Mapping[str, str]) -> Any:
    if name != "otlp":
        raise ConfigurationError(
            f"OTEL_{signal}_EXPORTER: there is no {name}; there are otlp, console and none"
            f"{'' if signal == 'TRACES' else ', and prometheus'}"
        )
    own, shared = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = environ.get(own) or environ.get(shared) or "http/protobuf"
    if protocol not in _OTLP_MODULES:
        raise ConfigurationError(f"{shared}: must be one of {', '.join(_OTLP_MODULES)}")
    return import_module(_OTLP_MODULES[protocol])


def _timeout(signal: str, environ: Mapping[str, str]) -> float | None:
    """The exporter's timeout in seconds; None if the environment sets it."""
    named = ("OTEL_EXPORTER_OTLP_TIMEOUT", f"OTEL_EXPORTER_OTLP_{signal}_TIMEOUT")
    return None if any(map(environ.get, named)) else _EXPORT_SECONDS


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
