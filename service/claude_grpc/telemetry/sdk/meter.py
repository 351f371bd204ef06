"""A meter of the SDK that reads our own instruments.

Counters and gauges are what the SDK calls observable. Histograms it has not got as such: theirs are added to what
readers hand to their exporters, as long as the environment asks for histograms as we make them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.trace import NonRecordingSpan, set_span_in_context

from claude_grpc.telemetry.histogram import Histogram, Series
from claude_grpc.telemetry.meter import Meter
from claude_grpc.telemetry.sdk.tracer import context_of
from claude_grpc.telemetry.span import NO_SPAN, Span
from claude_grpc.telemetry.tally import Labels, Reading

__all__ = ["Book", "ReadingMeter", "WithHistograms", "are_ours_asked_for"]

# What our histograms are, where an operator may ask for others.
_OURS: Final = {
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "cumulative",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "explicit_bucket_histogram",
    "OTEL_METRICS_EXEMPLAR_FILTER": "trace_based",
}


def are_ours_asked_for(environ: Mapping[str, str]) -> bool:
    """Whether histograms are to be as ours are; others are made by the SDK, which takes longer."""
    return all((environ.get(name) or ours).strip().lower() == ours for name, ours in _OURS.items())


class Book:
    """Our histograms, by name and with a sentence about each."""

    def __init__(self) -> None:
        self._histograms: list[tuple[str, str, Histogram]] = []

    def add(self, name: str, description: str, histogram: Histogram) -> None:
        """Have one exported."""
        self._histograms.append((name, description, histogram))

    def metrics(self, since: int) -> Iterator[sdk.Metric]:
        """All that have recorded something; with the exemplars since then, in nanoseconds since 1970."""
        now = time.time_ns()
        for name, description, histogram in self._histograms:
            points = [_point(labels, series, histogram, since, now) for labels, series in histogram.read()]
            if points:
                data = sdk.Histogram(points, sdk.AggregationTemporality.CUMULATIVE)
                yield sdk.Metric(name, description, "s", data)


class ReadingMeter(Meter):
    """Has instruments read by the readers of a meter of the SDK.

    Args:
        meter: Reads counters and gauges.
        book: Histograms for these readers; None to have the SDK make them.
    """

    def __init__(self, meter: metrics.Meter, book: Book | None) -> None:
        self._meter = meter
        self._book = book

    def counter(self, name: str, description: str, unit: str, read: Callable[[], Reading]) -> None:
        """Something that only grows."""
        self._meter.create_observable_counter(name, [_observing(read)], unit, description)

    def level(self, name: str, description: str, unit: str, read: Callable[[], Reading]) -> None:
        """Something that grows and shrinks, and can be added up over processes."""
        self._meter.create_observable_up_down_counter(name, [_observing(read)], unit, description)

    def gauge(self, name: str, description: str, unit: str, read: Callable[[], Reading]) -> None:
        """Something that is now so and now so."""
        self._meter.create_observable_gauge(name, [_observing(read)], unit, description)

    def histogram(self, name: str, description: str, histogram: Histogram) -> Histogram:
        """Durations in seconds; return the one to record in."""
        if self._book is None:
            made = self._meter.create_histogram(
                name, "s", description, explicit_bucket_boundaries_advisory=histogram.bounds
            )
            return _SdkHistogram(histogram, made)
        self._book.add(name, description, histogram)
        return histogram


class WithHistograms(sdk.MetricReader):
    """What readers have in common: they hand on our histograms, too."""

    def __init__(self, book: Book | None, *args: Any, **kwargs: Any) -> None:
        self._book = book
        self._last = 0
        super().__init__(*args, **kwargs)

    def _receive_metrics(self, metrics_data: sdk.MetricsData, *args: Any, **kwargs: Any) -> None:
        if self._book is not None:
            since, self._last = self._last, time.time_ns()
            metrics_data = _with(metrics_data, self._book.metrics(since))
        super()._receive_metrics(metrics_data, *args, **kwargs)  # type: ignore[safe-super] # of the reader's own class


class _SdkHistogram(Histogram):
    """Hands each value to the SDK."""

    def __init__(self, ours: Histogram, theirs: metrics.Histogram) -> None:
        super().__init__(ours.bounds)
        self._ours = ours
        self._theirs = theirs

    def record(self, seconds: float, *labels: str, span: Span = NO_SPAN) -> None:
        whose = NonRecordingSpan(context_of(span.trace, span.id))
        self._theirs.record(seconds, self._ours.labels(labels), set_span_in_context(whose, Context()))


def _observing(read: Callable[[], Reading]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [Observation(value, labels) for value, labels in read()]


def _with(data: sdk.MetricsData, more: Iterable[sdk.Metric]) -> sdk.MetricsData:
    [resource] = data.resource_metrics
    [scope, *others] = resource.scope_metrics
    scope = replace(scope, metrics=[*scope.metrics, *more])
    return replace(data, resource_metrics=[replace(resource, scope_metrics=[scope, *others])])


def _point(labels: Labels, series: Series, histogram: Histogram, since: int, now: int) -> sdk.HistogramDataPoint:
    counts = list(series.counts)
    exemplars = [
        Exemplar({}, value, at, span_id, trace_id)
        for value, at, trace_id, span_id in filter(None, series.exemplars)
        if at >= since
    ]
    return sdk.HistogramDataPoint(
        labels,
        series.since,
        now,
        sum(counts),
        series.total,
        counts,
        histogram.bounds,
        series.least,
        series.most,
        exemplars,
    )
