"""Traces and metrics for a person at a terminal: what the exporter ``console`` prints of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

from opentelemetry.trace import SpanKind, StatusCode, format_trace_id

from claude_grpc.telemetry import names

__all__ = ["TraceTree", "list_metrics"]

_MOST_TRACES: Final = 100
# Said by the name of the span, or the same everywhere.
_UNTOLD: Final = frozenset(
    {
        names.RPC_SYSTEM,
        names.RPC_METHOD,
        names.PROVIDER,
        names.OPERATION,
        names.REQUEST_MODEL,
        names.HTTP_REQUEST_METHOD,
    }
)


class TraceTree:
    """Formats a trace as a tree, once its root has ended; a span of the SDK is given one by one."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, list[Any]] = OrderedDict()

    def __call__(self, span: Any) -> str:
        """The tree, if this is its root; else nothing, for now."""
        trace_id = span.context.trace_id
        spans = self._waiting.setdefault(trace_id, [])
        spans.append(span)
        # The root is an RPC, or a poll that is made for several of them.
        if span.kind is not SpanKind.SERVER and span.parent is not None:
            if len(self._waiting) > _MOST_TRACES:
                self._waiting.popitem(last=False)
            return ""
        del self._waiting[trace_id]
        lines = _tree(span, sorted(spans, key=lambda each: each.start_time), "")
        whose = [f"    for trace {format_trace_id(link.context.trace_id)}" for link in span.links]
        return "\n".join([f"trace {format_trace_id(trace_id)}", *whose, *lines, ""])


def _tree(span: Any, spans: list[Any], indent: str) -> Iterator[str]:
    yield f"{indent}{_line(span)}"
    for event in span.events:
        seconds = (event.timestamp - span.start_time) / 1e9
        yield f"{indent}    after {seconds:.3f} s: {event.name} {_attributes(event.attributes)}"
    for child in spans:
        if child.parent is not None and child.parent.span_id == span.context.span_id:
            yield from _tree(child, spans, indent + "  ")


def _line(span: Any) -> str:
    seconds = (span.end_time - span.start_time) / 1e9
    failed = " FAILED" if span.status.status_code is StatusCode.ERROR else ""
    return f"{span.name} {seconds:.3f} s{failed} {_attributes(span.attributes)}"


def _attributes(attributes: Any) -> str:
    return " ".join(f"{name}={value}" for name, value in attributes.items() if name not in _UNTOLD)


def list_metrics(metrics: Any) -> str:
    """Format all metrics, a line for each series."""
    lines = ["metrics"]
    for scope in (scope for resource in metrics.resource_metrics for scope in resource.scope_metrics):
        for metric in scope.metrics:
            lines += [f"  {metric.name} {_point(point)}" for point in metric.data.data_points]
    return "\n".join([*lines, ""])


def _point(point: Any) -> str:
    labels = " ".join(f"{name}={value}" for name, value in point.attributes.items())
    if hasattr(point, "bucket_counts"):
        mean = point.sum / point.count if point.count else 0.0
        return f"count={point.count} mean={mean:.4f} {labels}"
    return f"{point.value} {labels}"
