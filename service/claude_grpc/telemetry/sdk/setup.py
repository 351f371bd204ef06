"""Makes tracers and meters of the OpenTelemetry SDK, as the environment says.

Exporters work in threads of their own, with bounded queues: a collector that is slow or gone costs a call nothing, and
what cannot be sent is dropped. What the SDK reads of ``OTEL_*`` by itself (sampling, intervals, headers, certificates)
is left to it.
"""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from claude_grpc.config import ConfigurationError
from claude_grpc.telemetry import names
from claude_grpc.telemetry.console import TraceTree, list_metrics
from claude_grpc.telemetry.meter import Meter
from claude_grpc.telemetry.sdk.meter import Book, ReadingMeter, WithHistograms, are_ours_asked_for
from claude_grpc.telemetry.sdk.queue import SpanQueue
from claude_grpc.telemetry.sdk.tracer import SamplingTracer
from claude_grpc.telemetry.span import Span, Tracer

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
    keepers: list[Callable[[Span], object]] = []
    closers: list[Closer] = []
    for name in exporters:
        if name == "console":
            keepers.append(_print_to_console())
        else:
            queue = _span_queue(name, resource, InstrumentationScope(names.SCOPE, version, names.SCHEMA_URL), environ)
            keepers.append(queue.put)
            closers.append(queue.close)
    # The provider knows which sampler the environment asks for. It is not to close anything at the interpreter's exit:
    # that would wait for a collector that is gone as long as it likes.
    sampler = TracerProvider(resource=resource, shutdown_on_exit=False).sampler
    return SamplingTracer(sampler, _all(keepers)), closers


def open_metrics(
    exporters: list[str], resource: Resource, environ: Mapping[str, str], version: str
) -> tuple[Meter, list[Closer]]:
    """A meter with these exporters, and what closes it."""
    closers: list[Closer] = []
    book = Book() if are_ours_asked_for(environ) else None
    readers = [_metric_reader(name, environ, book, closers) for name in exporters]
    provider = MeterProvider(readers, resource, shutdown_on_exit=False)
    meter = ReadingMeter(provider.get_meter(names.SCOPE, version, names.SCHEMA_URL), book)
    return meter, [provider.shutdown, *closers]


def _all(keepers: list[Callable[[Span], object]]) -> Callable[[Span], object]:
    def keep(span: Span) -> None:
        for each in keepers:
            each(span)

    return keepers[0] if len(keepers) == 1 else keep


def _print_to_console() -> Callable[[Span], object]:
    tree = TraceTree()

    def write(span: Span) -> None:
        sys.stderr.write(tree(span))
        sys.stderr.flush()

    return write


def _span_queue(name: str, resource: Resource, scope: InstrumentationScope, environ: Mapping[str, str]) -> SpanQueue:
    otlp = _otlp("TRACES", name, environ)
    # It needs what OTLP is written with, which the console does without.
    from claude_grpc.telemetry.sdk.encoding import SpanEncoder  # noqa: PLC0415

    exporter = otlp.SpanExporter(SpanEncoder(resource, scope), timeout=_timeout("TRACES", environ))
    return SpanQueue(exporter, environ)


class _PeriodicReader(WithHistograms, PeriodicExportingMetricReader):
    pass


def _metric_reader(name: str, environ: Mapping[str, str], book: Book | None, closers: list[Closer]) -> MetricReader:
    if name == "prometheus":
        return _prometheus(environ, book, closers)
    if name == "console":
        return _PeriodicReader(book, ConsoleMetricExporter(out=sys.stderr, formatter=list_metrics))
    return _PeriodicReader(book, _otlp("METRICS", name, environ).MetricExporter(timeout=_timeout("METRICS", environ)))


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


def _prometheus(environ: Mapping[str, str], book: Book | None, closers: list[Closer]) -> MetricReader:
    # Only this exporter needs them.
    from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415
    from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415

    class Reader(WithHistograms, PrometheusMetricReader):
        pass

    registry = CollectorRegistry()
    host = environ.get("OTEL_EXPORTER_PROMETHEUS_HOST") or "localhost"
    port = environ.get("OTEL_EXPORTER_PROMETHEUS_PORT") or "9464"
    try:
        server, _ = start_http_server(int(port), host, registry)
    except (OSError, OverflowError, ValueError):
        raise ConfigurationError(f"OTEL_EXPORTER_PROMETHEUS_PORT: cannot listen on {host}:{port}") from None
    closers += [server.shutdown, server.server_close]
    _log.info("Metrics can be scraped", extra={"url": f"http://{host}:{server.server_port}/metrics"})
    return Reader(book, scope_info_enabled=False, registry=registry)
