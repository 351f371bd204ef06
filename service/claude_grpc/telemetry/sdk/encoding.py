"""Spans as OTLP, for a tenth of the time that the exporters' own encoder takes.

The bytes of a span are put together by hand. What spans have in common, and attributes that are the same in many calls,
are written once. What is rare (events, links, a vendor's state) is left to protobuf, and appended: that is how protobuf
merges.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue
from opentelemetry.proto.trace.v1.trace_pb2 import (
    SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK,
    SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK,
    ResourceSpans,
    ScopeSpans,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from claude_grpc.telemetry import names
from claude_grpc.telemetry.sdk.tracer import context_of
from claude_grpc.telemetry.span import NO_SPAN, Shape, Span

__all__ = ["SpanEncoder", "as_sdk"]

# A batch takes some milliseconds, in which this thread holds the interpreter and calls wait for it. So it lets go of it
# after so many spans, a tenth of a millisecond, for long enough that another thread can take it.
_TURN: Final = 16
_PAUSE_SECONDS: Final = 0.00005

_MOST_KEPT: Final = 2000
_LONGEST_KEPT: Final = 256
_KEPT_TYPES: Final = frozenset({str, int})
# Never the same twice, or too long to keep.
_UNIQUE: Final = frozenset(
    {
        names.ANTHROPIC_REQUEST_ID,
        names.ERROR_ID,
        names.INPUT_MESSAGES,
        names.OUTPUT_MESSAGES,
        names.RESPONSE_ID,
        names.RESPONSE_TIME_TO_FIRST_CHUNK,
        names.SYSTEM_INSTRUCTIONS,
        names.TIMING,
        names.URL_FULL,
    }
)

# Field numbers and wire types, as protobuf writes them.
_RESOURCE_SPANS: Final = b"\x0a"
_SCOPE_SPANS: Final = b"\x12"
_SPAN: Final = b"\x12"
# The ids of trace and span, the shape, start and end.
_HEAD: Final = b"\x0a\x10%b\x12\x08%b%b\x39%b\x41%b"
_PARENT: Final = b"\x22\x08%b"
_NAME: Final = b"\x2a"
_KIND: Final = b"\x30"
_ATTRIBUTE: Final = b"\x4a"
_KEY: Final = b"\x0a"
_VALUE: Final = b"\x12"
_STRING: Final = b"\x0a"
_LOCAL: Final = b"\x85\x01" + SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK.to_bytes(4, "little")
_REMOTE: Final = b"\x85\x01" + (SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK | SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK).to_bytes(
    4, "little"
)
_STATUS_UNSET: Final = b"\x7a\x00"
_STATUS_ERROR: Final = b"\x7a\x02\x18\x02"
_SEVEN_BITS: Final = 0x7F


class SpanEncoder:
    """Encodes spans.

    Args:
        resource: Who tells of them.
        scope: The instrumentation.
    """

    def __init__(self, resource: Resource, scope: InstrumentationScope) -> None:
        self._resource = resource
        self._scope = scope
        self._kept: dict[tuple[str, Any], bytes] = {}
        self._head = _head(as_sdk(NO_SPAN, resource, scope))

    def encode(self, spans: Sequence[Span]) -> bytes:
        """The spans as an ``ExportTraceServiceRequest``."""
        resource, scope, schemas = self._head
        written = b"".join(self._in_turns(spans))
        return _field(_RESOURCE_SPANS, resource + _field(_SCOPE_SPANS, scope + written + schemas))

    def sdk_spans(self, spans: Sequence[Span]) -> list[ReadableSpan]:
        """The spans as the SDK has them."""
        return [as_sdk(span, self._resource, self._scope) for span in spans]

    def _in_turns(self, spans: Sequence[Span]) -> Iterator[bytes]:
        for number, span in enumerate(spans):
            if number % _TURN == 0:
                time.sleep(_PAUSE_SECONDS)
            yield _field(_SPAN, self._span(span))

    def _span(self, span: Span) -> bytes:
        shape = span.shape
        if shape.written is None:
            shape.written = self._shape(shape)
        parts = [
            _HEAD % (
                span.trace.id.to_bytes(16, "big"), span.id.to_bytes(8, "big"), shape.written,
                span.started.to_bytes(8, "little"), span.ended.to_bytes(8, "little"),
            ),
            _REMOTE if span.is_remote else _LOCAL,
            _STATUS_ERROR if span.failed else _STATUS_UNSET,
        ]  # fmt: skip
        if span.parent_id:
            parts.append(_PARENT % span.parent_id.to_bytes(8, "big"))
        parts += map(self._attribute, span.attributes.items())
        if span.events or span.links or span.trace.state:
            [whole] = self.sdk_spans([span])
            parts.append(_rest(whole))
        return b"".join(parts)

    def _shape(self, shape: Shape) -> bytes:
        attributes = b"".join(map(self._attribute, shape.attributes.items()))
        return _field(_NAME, shape.name.encode()) + _KIND + bytes((shape.kind,)) + attributes

    def _attribute(self, item: tuple[str, Any]) -> bytes:
        key, value = item
        # Equal values of other types, True and 1.0, are written otherwise than 1.
        is_kept = key not in _UNIQUE and (type(value) in _KEPT_TYPES or key == names.RESPONSE_FINISH_REASONS)
        written = self._kept.get(item) if is_kept else None
        if written is None:
            written = _field(_ATTRIBUTE, _key(key) + _field(_VALUE, _value(value)))
            if is_kept and len(written) <= _LONGEST_KEPT:
                if len(self._kept) >= _MOST_KEPT:
                    # Else names that somebody makes up would keep the place of all others for ever.
                    self._kept.clear()
                self._kept[item] = written
        return written


def as_sdk(span: Span, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    """A span as the SDK has it."""
    parent = context_of(span.trace, span.parent_id, is_remote=span.is_remote) if span.parent_id else None
    return ReadableSpan(
        span.shape.name,
        context_of(span.trace, span.id),
        parent,
        resource,
        span.shape.attributes | span.attributes,
        [Event(name, attributes, at) for name, attributes, at in span.events],
        [Link(context_of(link.trace, link.id)) for link in span.links],
        SpanKind(span.shape.kind - 1),
        status=Status(StatusCode.ERROR) if span.failed else Status(),
        start_time=span.started,
        end_time=span.ended,
        instrumentation_scope=scope,
    )


def _head(span: ReadableSpan) -> tuple[bytes, bytes, bytes]:
    """The bytes of the resource and of the scope, which are the same for all spans, and of the scope's schema."""
    [group] = encode_spans([span]).resource_spans
    [scope] = group.scope_spans
    return (
        ResourceSpans(resource=group.resource, schema_url=group.schema_url).SerializeToString(),
        ScopeSpans(scope=scope.scope).SerializeToString(),
        ScopeSpans(schema_url=scope.schema_url).SerializeToString(),
    )


def _rest(span: ReadableSpan) -> bytes:
    [group] = encode_spans([span]).resource_spans
    whole = group.scope_spans[0].spans[0]
    return OtlpSpan(events=whole.events, links=whole.links, trace_state=whole.trace_state).SerializeToString()


@lru_cache(maxsize=256)
def _key(key: str) -> bytes:
    return _field(_KEY, key.encode())


def _value(value: Any) -> bytes:
    return _field(_STRING, value.encode()) if type(value) is str else _any_value(value).SerializeToString()


def _any_value(value: Any) -> AnyValue:
    match value:
        case str():
            return AnyValue(string_value=value)
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case _:
            return AnyValue(array_value=ArrayValue(values=[_any_value(each) for each in value]))


def _field(tag: bytes, content: bytes) -> bytes:
    size = len(content)
    if size < 1 << 7:
        return b"%b%c%b" % (tag, size, content)
    if size < 1 << 14:
        return b"%b%c%c%b" % (tag, size & _SEVEN_BITS | 1 << 7, size >> 7, content)
    digits = [size & _SEVEN_BITS]
    while size := size >> 7:
        digits[-1] |= 1 << 7
        digits.append(size & _SEVEN_BITS)
    return b"%b%b%b" % (tag, bytes(digits), content)
