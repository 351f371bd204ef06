"""Our tracer and our encoder do what the SDK's do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    set_span_in_context,
)

from claude_grpc.telemetry import names
from claude_grpc.telemetry.sdk.encoding import SpanEncoder
from claude_grpc.telemetry.sdk.tracer import LeanTracer

RESOURCE = Resource({"service.name": "test", "host.cores": 2})
SCOPE = InstrumentationScope("scope", "1", "https://schema")

ids = st.builds(
    lambda trace, span, flags, remote, state: SpanContext(
        trace, span, is_remote=remote, trace_flags=TraceFlags(flags), trace_state=TraceState(state)
    ),
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.integers(0, 3),
    st.booleans(),
    st.lists(st.just(("vendor", "x")), max_size=1),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
values = st.one_of(
    texts,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(texts, max_size=3).map(tuple),
)
attributes = st.dictionaries(st.one_of(st.sampled_from([names.TIMING, names.RPC_METHOD]), texts.filter(bool)), values)
times = st.integers(0, 2**63 - 1)
spans = st.builds(
    lambda **fields: ReadableSpan(resource=RESOURCE, instrumentation_scope=SCOPE, **fields),
    name=texts,
    context=ids,
    parent=st.none() | ids,
    attributes=attributes,
    events=st.lists(st.builds(Event, texts, attributes, times), max_size=2),
    links=st.lists(st.builds(Link, ids, attributes), max_size=2),
    kind=st.sampled_from(SpanKind),
    status=st.sampled_from(
        [Status(), Status(StatusCode.OK), Status(StatusCode.ERROR), Status(StatusCode.ERROR, "why")]
    ),
    start_time=times,
    end_time=times,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(spans, min_size=1, max_size=4))
def test_the_bytes_mean_what_those_of_the_exporters_encoder_mean(batch: list[ReadableSpan]) -> None:
    encoder = SpanEncoder()
    expected = encode_spans(batch)
    # Twice, for the second time much of it is kept from the first.
    for _ in range(2):
        assert ExportTraceServiceRequest.FromString(encoder.encode(batch)) == expected


def test_what_is_kept_is_bounded_and_never_what_is_unique() -> None:
    encoder = SpanEncoder()
    for number in range(5000):
        told = {names.REQUEST_MODEL: f"model-{number}", names.RESPONSE_ID: f"msg_{number}"}
        encoder.encode([_ended(told)])
    assert len(encoder._kept) == 2000
    assert not any(key == names.RESPONSE_ID for key, _ in encoder._kept)


def _ended(told: dict[str, Any]) -> ReadableSpan:
    context = SpanContext(1, 2, is_remote=False)
    return ReadableSpan("n", context, resource=RESOURCE, attributes=told, instrumentation_scope=SCOPE, end_time=1)


def tracers() -> tuple[Tracer, InMemorySpanExporter, Tracer, InMemorySpanExporter]:
    """The SDK's and ours, by the same environment."""
    theirs, ours = InMemorySpanExporter(), InMemorySpanExporter()
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(theirs))
    processor = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]
    processor.add_span_processor(SimpleSpanProcessor(ours))
    lean = LeanTracer(provider.sampler, processor, RESOURCE, SCOPE, SpanLimits())
    return provider.get_tracer("scope"), theirs, lean, ours


def remote(trace_id: int, flags: int) -> Context:
    parent = SpanContext(
        trace_id, 7, is_remote=True, trace_flags=TraceFlags(flags), trace_state=TraceState([("v", "1")])
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())


@pytest.mark.parametrize("trace_id", [3, 2**63, 2**64 - 1, 2**127 + 2**62])
@pytest.mark.parametrize("flags", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("sampler", "argument"),
    [
        ("", ""), ("always_on", ""), ("always_off", ""), ("traceidratio", "0.5"),
        ("parentbased_always_on", ""), ("parentbased_always_off", ""), ("parentbased_traceidratio", "0.5"),
    ],
)  # fmt: skip
def test_each_sampler_decides_as_it_does_for_the_sdk(
    monkeypatch: pytest.MonkeyPatch, sampler: str, argument: str, flags: int, trace_id: int
) -> None:
    if sampler:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    contexts = []
    for tracer, exporter in zip(tracers()[::2], tracers()[1::2], strict=True):
        top = tracer.start_span("top", remote(trace_id, flags), SpanKind.SERVER)
        below = tracer.start_span("below", set_span_in_context(top, Context()))
        contexts.append([
            (c.trace_id, c.trace_flags, dict(c.trace_state)) for c in (top.get_span_context(), below.get_span_context())
        ])  # fmt: skip
        assert top.is_recording() == below.is_recording() == bool(top.get_span_context().trace_flags.sampled)
        assert exporter is not None
    assert contexts[0] == contexts[1]


def test_a_span_gets_to_the_exporter_as_the_sdks_does() -> None:
    theirs, their_exporter, ours, our_exporter = tracers()
    told = []
    for tracer, exporter in ((theirs, their_exporter), (ours, our_exporter)):
        span = tracer.start_span(
            "name", remote(9, 1), SpanKind.CLIENT, {"a": 1}, [Link(SpanContext(5, 6, is_remote=True))], 100
        )
        span.set_attribute("b", "x")
        span.set_attributes({"c": 2.5, "a": 3})
        span.add_event("happened", {"why": "so"}, 150)
        span.update_name("better")
        span.set_status(StatusCode.ERROR)
        span.end(200)
        span.end(300)
        [ended] = exporter.get_finished_spans()
        told.append((
            ended.name, ended.kind, dict(ended.attributes or {}), ended.start_time, ended.end_time, ended.parent,
            ended.status.status_code, [(e.name, dict(e.attributes or {}), e.timestamp) for e in ended.events],
            [link.context for link in ended.links], ended.resource,
        ))  # fmt: skip
        assert not span.is_recording()
    assert told[0] == told[1]


def test_a_root_has_ids_of_its_own_and_says_they_are_random() -> None:
    _, _, ours, _ = tracers()
    contexts = [ours.start_span("n", Context()).get_span_context() for _ in range(100)]
    assert len({context.trace_id for context in contexts} | {context.span_id for context in contexts}) == 200
    assert {int(context.trace_flags) for context in contexts} == {3}


def test_the_standard_limits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5")
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "2")
    _, _, ours, exporter = tracers()
    span = ours.start_span("n", Context(), attributes={"long": "x" * 50, "number": 12345678})
    for _ in range(9):
        span.add_event("e")
    span.end()
    [ended] = exporter.get_finished_spans()
    assert dict(ended.attributes or {}) == {"long": "xxxxx", "number": 12345678}
    assert len(ended.events) == 2


def test_an_exceptions_text_is_not_recorded() -> None:
    _, _, ours, exporter = tracers()
    span = ours.start_span("n", Context())
    span.record_exception(ValueError("canary"))
    span.end()
    [ended] = exporter.get_finished_spans()
    assert ended.events == ()
