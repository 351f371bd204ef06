"""Our histograms tell what the SDK's tell, and those who ask for other ones get the SDK's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_grpc.telemetry.histogram import Histogram
from claude_grpc.telemetry.sdk.meter import are_ours_asked_for
from claude_grpc.telemetry.span import NO_SPAN, SERVER, Shape, Span, Trace
from support.memory_metrics import MemoryMetrics
from support.otlp import Collector
from support.stack import create, drain, open_stack

# Sums of these are exact, in whatever order they are added.
BOUNDS = (0.125, 1, 10)
SAMPLED = Span(Shape("n", SERVER, {}), Trace(5, 3), keep=lambda _: None)
UNSAMPLED = Span(Shape("n", SERVER, {}), Trace(6, 2))

recorded = st.tuples(
    st.sampled_from([0.0, 0.125, 0.5, 1.0, 7.25, 10.0, 11.0, 600.0]),
    st.sampled_from(["", "x", "y"]),
    st.sampled_from([NO_SPAN, SAMPLED, UNSAMPLED]),
)


def made(metrics: MemoryMetrics) -> Histogram:
    return metrics.meter.histogram("n", "Some.", Histogram(BOUNDS, "a", "b", fixed={"c": 1}))


def told(metrics: MemoryMetrics) -> list[Any]:
    points = sorted(metrics.points().get("n", []), key=lambda point: sorted(point.attributes.items()))
    return [
        (
            dict(point.attributes), point.count, point.sum, tuple(point.bucket_counts), tuple(point.explicit_bounds),
            point.min, point.max,
            [(each.value, each.trace_id, each.span_id, each.filtered_attributes) for each in point.exemplars],
            point.start_time_unix_nano < point.time_unix_nano,
        )
        for point in points
    ]  # fmt: skip


@given(st.lists(st.lists(recorded, min_size=1, max_size=20), min_size=1, max_size=3))
def test_what_is_recorded_is_told_as_the_sdk_tells_it(collections: list[list[tuple[float, str, Span]]]) -> None:
    both = [MemoryMetrics(ours=ours) for ours in (True, False)]
    histograms = [made(metrics) for metrics in both]
    for metrics in both:
        metrics.meter.gauge("always", "So that there is something to collect.", "1", lambda: [(1, {})])
    for records in collections:
        for seconds, label, span in records:
            for histogram in histograms:
                histogram.record(seconds, "k", label, span=span)
        assert told(both[0]) == told(both[1])
    for metrics in both:
        metrics.close()


def test_a_histogram_has_one_series_more_than_its_most_however_much_is_recorded() -> None:
    histogram = Histogram(BOUNDS, "a", most=3)
    for number in range(1000):
        histogram.record(1.0, str(number))
    histogram.record(1.0, "1")
    assert {tuple(labels.values()): sum(series.counts) for labels, series in histogram.read()} == {
        ("0",): 1, ("1",): 2, ("2",): 1, ("_OTHER",): 997
    }  # fmt: skip


OTHERS = {
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram",
    "OTEL_METRICS_EXEMPLAR_FILTER": "always_off",
}


@pytest.mark.parametrize(("name", "value"), OTHERS.items())
def test_who_asks_for_other_histograms_gets_them(name: str, value: str) -> None:
    assert are_ours_asked_for({})
    assert not are_ours_asked_for({name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("", ""), *OTHERS.items()], ids=["ours", "delta", "exponential", "no exemplars"]
)
async def test_an_exporter_gets_the_histograms_it_asks_for(
    collector: Collector, export_to: Callable[..., None], name: str, value: str
) -> None:
    # Nothing is collected before the end, so that the exemplars are in what comes last.
    export_to(collector.grpc_url, **({name: value} if name else {}), OTEL_METRIC_EXPORT_INTERVAL="60000")
    async with open_stack() as stack:
        await drain(stack.messages.CreateMessage(create()))
    [rpc] = [span for span in collector.spans if span.kind == "SERVER"]
    [(labels, point)] = collector.points("rpc.server.call.duration")
    assert point.count == 1
    assert labels["rpc.response.status_code"] == "OK"
    assert hasattr(point, "scale") is ("AGGREGATION" in name)
    assert [exemplar.span_id.hex() for exemplar in point.exemplars] == ([] if "FILTER" in name else [rpc.span_id])
