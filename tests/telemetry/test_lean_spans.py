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
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace import Tracer as SdkTracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from claude_grpc.telemetry import names
from claude_grpc.telemetry.sdk.encoding import SpanEncoder, as_sdk
from claude_grpc.telemetry.sdk.tracer import SamplingTracer, context_of
from claude_grpc.telemetry.span import (
    CLIENT,
    NO_SPAN,
    SERVER,
    Shape,
    Span,
    Trace,
    callers_span,
    current_span,
    traceparent,
)

RESOURCE = Resource({"service.name": "test", "host.cores": 2})
SCOPE = InstrumentationScope("scope", "1", "https://schema")

ids = st.integers(1, 2**64 - 1)
traces = st.builds(Trace, st.integers(1, 2**128 - 1), st.integers(0, 3), st.sampled_from(["", "vendor=x", "a=1,b=2"]))
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


def written(shape: Shape, trace: Trace, parent: int, remote: bool, own: int, **fields: Any) -> Span:
    span = Span(shape, trace, parent, is_remote=remote and bool(parent), span_id=own)
    for name, value in fields.items():
        setattr(span, name, value)
    # Nothing is told twice.
    span.attributes = {key: value for key, value in span.attributes.items() if key not in shape.attributes}
    return span


shapes = st.builds(Shape, texts, st.sampled_from([SERVER, CLIENT]), attributes)
links = st.builds(written, shapes, traces, ids, st.booleans(), ids)
spans = st.builds(
    written,
    shapes,
    traces,
    st.just(0) | ids,
    st.booleans(),
    ids,
    attributes=attributes,
    events=st.lists(st.tuples(texts, attributes, times), max_size=2),
    links=st.lists(links, max_size=2),
    failed=st.booleans(),
    started=times,
    ended=times,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(spans, min_size=1, max_size=4))
def test_the_bytes_mean_what_those_of_the_exporters_encoder_mean(batch: list[Span]) -> None:
    encoder = SpanEncoder(RESOURCE, SCOPE)
    expected = encode_spans([as_sdk(span, RESOURCE, SCOPE) for span in batch])
    # Twice, for the second time much of it is kept from the first.
    for _ in range(2):
        assert ExportTraceServiceRequest.FromString(encoder.encode(batch)) == expected


def test_what_is_kept_is_bounded_and_never_what_is_unique() -> None:
    encoder = SpanEncoder(RESOURCE, SCOPE)
    for number in range(5000):
        told = {names.REQUEST_MODEL: f"model-{number}", names.RESPONSE_ID: f"msg_{number}"}
        encoder.encode([written(Shape("n", CLIENT, {}), Trace(1, 3), 0, False, 2, attributes=told)])
        assert (names.REQUEST_MODEL, f"model-{number}") in encoder._kept
        assert len(encoder._kept) <= 2000
    assert not any(key == names.RESPONSE_ID for key, _ in encoder._kept)


def test_what_is_long_is_not_kept() -> None:
    encoder = SpanEncoder(RESOURCE, SCOPE)
    told = {names.REQUEST_MODEL: "m" * 10_000, names.RESPONSE_FINISH_REASONS: ("r" * 10_000,)}
    encoder.encode([written(Shape("n", CLIENT, {}), Trace(1, 3), 0, False, 2, attributes=told)])
    assert encoder._kept == {}


def tracers() -> tuple[SdkTracer, InMemorySpanExporter, SamplingTracer, list[Span]]:
    """The SDK's and ours, by the same environment, and what they have recorded."""
    theirs, ours = InMemorySpanExporter(), list[Span]()
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(theirs))
    return provider.get_tracer("scope"), theirs, SamplingTracer(provider.sampler, ours.append), ours


def remote(trace_id: int, flags: int) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id:032x}-{7:016x}-{flags:02x}", "tracestate": "v=1"}


def extracted(metadata: dict[str, str]) -> Context:
    return TraceContextTextMapPropagator().extract(metadata, Context())


def test_calls_have_their_turn_while_a_batch_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    span = written(Shape("n", SERVER, {}), Trace(1, 1), 0, False, 1)
    SpanEncoder(RESOURCE, SCOPE).encode([span] * 512)
    assert len(pauses) >= 32
    assert 0 < min(pauses) <= max(pauses) < 0.001


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
    theirs, their_exporter, ours, kept = tracers()
    metadata = remote(trace_id, flags)
    above = theirs.start_span("top", extracted(metadata), SpanKind.SERVER)
    below = theirs.start_span("below", set_span_in_context(above, Context()))
    top = ours.start(Shape("top", SERVER, {}), callers_span(metadata))
    child = top.child(Shape("below", CLIENT, {}))
    for their, our in ((above.get_span_context(), top), (below.get_span_context(), child)):
        assert (our.trace.id, our.trace.flags, our.trace.state) == (
            their.trace_id, their.trace_flags, their.trace_state.to_header()
        )  # fmt: skip
    assert top.is_recording == child.is_recording == above.is_recording() == bool(top.trace.flags & 1)
    for span in (child, top):
        span.end()
    below.end()
    above.end()
    assert len(kept) == len(their_exporter.get_finished_spans())


def test_a_span_gets_to_the_exporter_as_the_sdks_does() -> None:
    theirs, exporter, ours, kept = tracers()
    metadata = remote(9, 1)
    linked = written(Shape("n", CLIENT, {}), Trace(5, 0), 0, False, 6)
    span = theirs.start_span(
        "name", extracted(metadata), SpanKind.CLIENT, {"a": 1}, [Link(SpanContext(5, 6, is_remote=False))]
    )
    own = ours.start(Shape("name", CLIENT, {"a": 1}), callers_span(metadata), [linked])
    span.set_attributes({"c": 2.5})
    own.attributes |= {"c": 2.5}
    for each in (span, own):
        each.add_event("happened", {"why": "so"})
    span.set_status(StatusCode.ERROR)
    span.end()
    own.end(failed=True)
    own.end()
    [theirs_ended], [kept_span] = exporter.get_finished_spans(), kept
    told = []
    for ended in (theirs_ended, as_sdk(kept_span, RESOURCE, SCOPE)):
        assert ended.start_time is not None
        assert ended.end_time is not None
        [event] = ended.events
        assert ended.start_time <= event.timestamp <= ended.end_time
        told.append((
            ended.name, ended.kind, dict(ended.attributes or {}), ended.parent, ended.status.status_code, event.name,
            dict(event.attributes or {}), [link.context for link in ended.links], ended.resource,
        ))  # fmt: skip
    assert told[0] == told[1]
    assert not own.is_recording


def test_a_root_has_ids_of_its_own_and_says_they_are_random() -> None:
    _, _, ours, _ = tracers()
    roots = [ours.start(Shape("n", SERVER, {})) for _ in range(100)]
    assert len({root.trace.id for root in roots} | {root.id for root in roots}) == 200
    assert {root.trace.flags for root in roots} == {3}
    assert {root.parent_id for root in roots} == {0}


def test_the_standard_limits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5"), ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "4"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "1"), ("OTEL_SPAN_EVENT_COUNT_LIMIT", "2"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "3"),
    ):  # fmt: skip
        monkeypatch.setenv(name, limit)
    _, _, ours, kept = tracers()
    linked = written(Shape("n", CLIENT, {}), Trace(5, 0), 0, False, 6)
    span = ours.start(Shape("n", SERVER, {"long": "x" * 50}), links=[linked] * 9)
    span.attributes = {"longer": "y" * 60, "number": 12345678, "several": ("z" * 70, "z"), "one more": 1}
    for _ in range(9):
        span.add_event("e", {"why": "w" * 80, "one more": 1})
    span.end()
    [ended] = kept
    assert ended.shape.attributes | ended.attributes == {
        "long": "xxxxx", "longer": "yyyyy", "number": 12345678, "several": ("zzzzz", "z")
    }  # fmt: skip
    assert [attributes for _, attributes, _ in ended.events] == [{"why": "wwwww"}] * 2
    assert len(ended.links) == 3


def test_without_settings_only_events_and_links_are_limited() -> None:
    _, _, ours, kept = tracers()
    linked = written(Shape("n", CLIENT, {}), Trace(5, 0), 0, False, 6)
    shape = Shape("n", SERVER, {"long": "x" * 5000})
    span = ours.start(shape, links=[linked] * 999)
    for _ in range(999):
        span.add_event("e", {})
    span.end()
    [ended] = kept
    assert ended.shape is shape
    assert (len(ended.events), len(ended.links)) == (128, 128)


hexadecimal = st.text("0123456789abcdef", min_size=1, max_size=33)


@given(
    st.one_of(
        st.text(max_size=80),
        st.from_regex(r"\A[0f][0f]-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[a-z]*)?\Z"),
        st.builds("-".join, st.lists(hexadecimal, max_size=5)),
    )
)
def test_a_callers_header_is_read_as_the_sdk_reads_it(header: str) -> None:
    theirs = next(iter(extracted({"traceparent": header}).values()), None)
    ours = callers_span({"traceparent": header})
    if theirs is None:
        assert ours is NO_SPAN
    else:
        context = theirs.get_span_context()  # type: ignore[attr-defined] # a span
        assert (ours.trace.id, ours.id, ours.trace.flags) == (
            context.trace_id,
            context.span_id,
            context.trace_flags & 3,
        )


MEMBERS = [
    "vendor=x",
    "a@b=1",
    "a=",
    "=1",
    "A=1",
    "a=b=c",
    "a=x y",
    "a=x ",
    " a=x\t",
    "",
    "a=é",
    "a=\x7f",
    "1=2",
    "1@a=2",
]


@pytest.mark.parametrize(
    "header",
    [*MEMBERS, *(f"k=v,{member}" for member in MEMBERS), "a=1,a=2", ",".join(f"k{n}=1" for n in range(32))],
)
def test_a_callers_state_is_kept_as_the_sdk_would_keep_it(header: str, caplog: pytest.LogCaptureFixture) -> None:
    theirs = extracted({"traceparent": f"00-{9:032x}-{7:016x}-01", "tracestate": header})
    [span] = theirs.values()
    expected = span.get_span_context().trace_state.to_header()  # type: ignore[attr-defined] # a span
    caplog.clear()
    state = callers_span({"traceparent": f"00-{9:032x}-{7:016x}-01", "tracestate": header}).trace.state
    assert ",".join(filter(None, (member.strip(" \t") for member in state.split(",")))) == expected
    context_of(Trace(9, 1, state), 7)
    assert caplog.records == []


@pytest.mark.parametrize("header", ["a=" + "x" * 511, ",".join(f"k{n}=1" for n in range(33)), "sk-secret what?"])
def test_a_callers_state_that_is_too_long_or_none_is_dropped_in_silence(
    header: str, caplog: pytest.LogCaptureFixture
) -> None:
    metadata = {"traceparent": f"00-{9:032x}-{7:016x}-01", "tracestate": header}
    assert callers_span(metadata).trace.state == ""
    assert caplog.records == []


def test_a_span_that_is_not_recorded_is_told_upstream_and_nothing_else() -> None:
    caller = callers_span(remote(9, 1))
    assert traceparent(caller.child(Shape("n", CLIENT, {}))) == {"traceparent": remote(9, 1)["traceparent"]}
    assert traceparent(NO_SPAN.child(Shape("n", CLIENT, {}))) == {}
    caller.add_event("e", {})
    caller.end(failed=True)
    assert (caller.events, caller.failed, caller.ended) == ((), False, 0)
    assert current_span() is NO_SPAN
