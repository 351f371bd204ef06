"""Traces and metrics for a person at a terminal: what the exporter ``console`` prints of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

from claude_grpc.telemetry import names
from claude_grpc.telemetry.span import SERVER, Attributes, Span

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
    """Formats a trace as a tree, once its root has ended; spans are given one by one."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, list[Span]] = OrderedDict()

    def __call__(self, span: Span) -> str:
        """The tree, if this is its root; else nothing, for now."""
        spans = self._waiting.setdefault(span.trace.id, [])
        spans.append(span)
        # The root is an RPC, or a poll that is made for several of them.
        if span.shape.kind != SERVER and span.parent_id:
            if len(self._waiting) > _MOST_TRACES:
                self._waiting.popitem(last=False)
            return ""
        below = sorted(_below(span, spans), key=lambda each: each.started)
        # A caller's trace may hold several RPCs, of which others still run.
        self._waiting[span.trace.id] = [each for each in spans if each is not span and each not in below]
        if not self._waiting[span.trace.id]:
            del self._waiting[span.trace.id]
        whose = [f"    for trace {link.trace.id:032x}" for link in span.links]
        return "\n".join([f"trace {span.trace.id:032x}", *whose, *_tree(span, below, ""), ""])


def _below(span: Span, spans: list[Span]) -> Iterator[Span]:
    for child in spans:
        if child.parent_id == span.id:
            yield child
            yield from _below(child, spans)


def _tree(span: Span, spans: list[Span], indent: str) -> Iterator[str]:
    yield f"{indent}{_line(span)}"
    for name, attributes, at in span.events:
        yield f"{indent}    after {(at - span.started) / 1e9:.3f} s: {name} {_attributes(attributes)}"
    for child in spans:
        if child.parent_id == span.id:
            yield from _tree(child, spans, indent + "  ")


def _line(span: Span) -> str:
    seconds = (span.ended - span.started) / 1e9
    failed = " FAILED" if span.failed else ""
    return f"{span.shape.name} {seconds:.3f} s{failed} {_attributes(span.shape.attributes | span.attributes)}"


def _attributes(attributes: Attributes) -> str:
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
