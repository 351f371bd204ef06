"""How much a span may hold, as the standard ``OTEL_*_LIMIT`` settings say; the SDK reads them, and enforces none."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from opentelemetry.sdk.trace import SpanLimits

from claude_grpc.telemetry.span import Attributes, Shape, Span

__all__ = ["Limits"]

# No span of ours has more, unless it captures content.
_MOST_ATTRIBUTES: Final = 64


class Limits:
    """Cuts spans to size.

    Raises:
        ValueError: The environment sets a limit that is no number.
    """

    def __init__(self) -> None:
        self._limits = limits = SpanLimits()
        most = limits.max_span_attributes
        self._concern_all = limits.max_span_attribute_length is not None or (
            most is not None and most < _MOST_ATTRIBUTES
        )

    def enforce(self, span: Span) -> None:
        """Leave out of a span that has ended what it may not hold: what came last."""
        limits = self._limits
        if self._concern_all:
            shape = span.shape
            shared = _cut(shape.attributes, limits.max_span_attributes, limits.max_span_attribute_length)
            most = limits.max_span_attributes
            own = None if most is None else most - len(shared)
            span.shape = Shape(shape.name, shape.kind, shared)
            span.attributes = _cut(span.attributes, own, limits.max_span_attribute_length)
        if span.events:
            span.events = [
                (name, _cut(attributes, limits.max_event_attributes, limits.max_attribute_length), at)
                for name, attributes, at in span.events[: limits.max_events]
            ]
        if span.links:
            span.links = span.links[: limits.max_links]


def _cut(attributes: Attributes, most: int | None, longest: int | None) -> Attributes:
    return {name: _cut_value(value, longest) for name, value in islice(attributes.items(), most)}


def _cut_value(value: Any, longest: int | None) -> Any:
    match value:
        case str():
            return value[:longest]
        case list() | tuple():
            return tuple(_cut_value(each, longest) for each in value)
        case _:
            return value
