"""A collector as a test needs it: takes OTLP over gRPC and HTTP, keeps what comes, and misbehaves on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import grpc
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from support.canary import look_through

Mode = Literal["takes", "slow", "fails"]


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it arrived."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    status: str
    start: int
    end: int
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    links: list[tuple[str, str]]
    resource: dict[str, Any]


@dataclass
class Collector:
    """What came, and where to send it.

    Attributes:
        grpc_url: For ``OTEL_EXPORTER_OTLP_ENDPOINT`` with the protocol ``grpc``.
        http_url: The same for ``http/protobuf``.
        raw: Every request's bytes.
        headers: Those of requests over HTTP.
    """

    grpc_url: str = ""
    http_url: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)
    requests: int = 0
    raw: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    _metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, found: Callable[[], bool]) -> None:
        """Wait until what came is as it should be."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(found)

    def named(self, name: str) -> list[ReceivedSpan]:
        """The spans of this name, in the order of their starts."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start)

    def children(self, parent: ReceivedSpan) -> list[ReceivedSpan]:
        """The spans whose parent this one is, in the order of their starts."""
        found = (s for s in self.spans if (s.trace_id, s.parent_id) == (parent.trace_id, parent.span_id))
        return sorted(found, key=lambda span: span.start)

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """The last points of a metric, each with its attributes."""
        metric = self._metrics.get(name, {})
        return [(dict(key), point) for key, point in metric.items()]

    def total(self, name: str, **attributes: str) -> float:
        """The sum of a counter's points that have these attributes, dots written as two underscores."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return float(
            sum(
                point.as_int or point.as_double
                for labels, point in self.points(name)
                if wanted.items() <= labels.items()
            )
        )

    @property
    def metrics(self) -> set[str]:
        """The names of all metrics that came."""
        return set(self._metrics)

    async def take_spans(self, body: bytes) -> None:
        self.raw.append(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _attributes(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += [_span(span, resource) for span in scope.spans]
        await self._tell()

    async def take_metrics(self, body: bytes) -> None:
        self.raw.append(body)
        for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for metric in (metric for scope in group.scope_metrics for metric in scope.metrics):
                points = getattr(metric, str(metric.WhichOneof("data"))).data_points
                series = {tuple(sorted(_attributes(point.attributes).items())): point for point in points}
                self._metrics[metric.name] = series
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def open_collector(mode: Mode = "takes") -> AsyncIterator[Collector]:
    """A collector on free ports."""
    collector = Collector()
    async with AsyncExitStack() as stack:
        await _serve_grpc(stack, collector, mode)
        await _serve_http(stack, collector, mode)
        yield collector
    # Whatever a test is about.
    look_through("what a collector got", *collector.raw, *collector.headers)


@asynccontextmanager
async def open_black_hole() -> AsyncIterator[str]:
    """A port that accepts connections and never says anything; its URL."""

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _serve_grpc(stack: AsyncExitStack, collector: Collector, mode: Mode) -> None:
    def handler(take: Callable[[bytes], Any], response: Any) -> Any:
        async def export(body: bytes, context: Any) -> Any:
            collector.requests += 1
            if mode == "slow":
                await asyncio.sleep(1.5)
            if mode == "fails":
                await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
            await take(body)
            return response()

        return grpc.unary_unary_rpc_method_handler(export, None, lambda message: message.SerializeToString())

    server = grpc.aio.server()
    prefix = "opentelemetry.proto.collector"
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                f"{prefix}.trace.v1.TraceService", {"Export": handler(collector.take_spans, ExportTraceServiceResponse)}
            ),
            grpc.method_handlers_generic_handler(
                f"{prefix}.metrics.v1.MetricsService",
                {"Export": handler(collector.take_metrics, ExportMetricsServiceResponse)},
            ),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stack.push_async_callback(server.stop, None)
    collector.grpc_url = f"http://127.0.0.1:{port}"


async def _serve_http(stack: AsyncExitStack, collector: Collector, mode: Mode) -> None:
    async def export(request: web.Request) -> web.Response:
        collector.requests += 1
        collector.headers.append({name.lower(): value for name, value in request.headers.items()})
        if mode == "slow":
            await asyncio.sleep(1.5)
        if mode == "fails":
            return web.Response(status=503)
        body = await request.read()
        await (collector.take_spans(body) if request.path == "/v1/traces" else collector.take_metrics(body))
        return web.Response(body=b"", content_type="application/x-protobuf")

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/{signal}", export)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.http_url = f"http://127.0.0.1:{runner.addresses[0][1]}"


def _span(span: Any, resource: dict[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        status=span.status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        events=[(event.name, _attributes(event.attributes)) for event in span.events],
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        resource=resource,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(each) for each in value.array_value.values)
    return getattr(value, kind) if kind else None
