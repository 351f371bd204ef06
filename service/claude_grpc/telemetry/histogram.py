"""A histogram that costs a call next to nothing: numbers in a dictionary, read when metrics are collected.

To record in a histogram of the OpenTelemetry SDK costs about 15 µs, here it is a tenth of that.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable
from math import inf

from claude_grpc.telemetry import names
from claude_grpc.telemetry.span import NO_SPAN, Span
from claude_grpc.telemetry.tally import Labels, told

__all__ = ["Exemplar", "Histogram", "Series"]

Exemplar = tuple[float, int, int, int]
"""A value, its time in nanoseconds since 1970, and the ids of the trace and of the span that it was recorded for."""


class Series:
    """What was recorded with the same labels.

    Attributes:
        counts: Of each bucket; the last is beyond all bounds.
        total: The sum of all values.
        least: The least of them.
        most: The greatest.
        exemplars: The last of each bucket that was recorded for a span.
        since: The time of the first, in nanoseconds since 1970.
    """

    __slots__ = ("counts", "exemplars", "least", "most", "since", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.exemplars: list[Exemplar | None] = [None] * buckets
        self.total = 0.0
        self.least, self.most = inf, -inf
        self.since = time.time_ns()


class Histogram:
    """Durations by labels.

    Args:
        bounds: Seconds that still belong to a bucket, in order.
        keys: The names of the labels.
        fixed: Attributes that all series have.
        most: Series at most; what would be one more is recorded with all labels ``_OTHER``.
    """

    def __init__(self, bounds: tuple[float, ...], *keys: str, fixed: Labels | None = None, most: int = 1000) -> None:
        self.bounds = bounds
        self._keys = keys
        self._fixed = dict(fixed or {})
        self._most = most
        self._series: dict[tuple[str, ...], Series] = {}

    def record(self, seconds: float, *labels: str, span: Span = NO_SPAN) -> None:
        """Take a duration, with labels in the order of the keys, of what ``span`` tells of."""
        series = self._series.get(labels) or self._one_more(labels)
        place = bisect_left(self.bounds, seconds)
        series.counts[place] += 1
        series.total += seconds
        series.least = min(series.least, seconds)
        series.most = max(series.most, seconds)
        if span.is_recording:
            series.exemplars[place] = (seconds, time.time_ns(), span.trace.id, span.id)

    def read(self) -> Iterable[tuple[Labels, Series]]:
        """All series with their labels, in another thread than the one that records."""
        return [(self.labels(labels), series) for labels, series in list(self._series.items())]

    def labels(self, labels: tuple[str, ...]) -> Labels:
        """Labels by their names."""
        return told(self._keys, labels, self._fixed)

    def _one_more(self, labels: tuple[str, ...]) -> Series:
        if len(self._series) >= self._most:
            labels = (names.OTHER,) * len(self._keys)
        return self._series.setdefault(labels, Series(len(self.bounds) + 1))
