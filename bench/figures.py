"""From results to figures: each a value for every repetition, since only what was measured side by side compares."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.loads import Result
from bench.targets import DIRECT, FLOOR, GATEWAY, PLAIN, WINDOW, WORKERS

__all__ = ["Figure", "Runs", "cpu_per_call", "cpu_per_event", "goals", "median"]

Runs = Mapping[str, Mapping[str, Sequence[Result]]]
"""Results by load, target and repetition. Beside loads: ``start``, of fresh processes; see `bench.runner`."""

Value = Callable[[Result], float]


@dataclass(frozen=True)
class Figure:
    """A value with its spread, and what it should be.

    Attributes:
        values: One for each repetition; none if it was not measured.
        goal: Its bound; None for a figure without one.
        at_most: Whether the bound is an upper one.
    """

    name: str
    values: Sequence[float]
    unit: str = ""
    goal: float | None = None
    at_most: bool = True

    @property
    def median(self) -> float:
        """Of all repetitions; not a number if there were none."""
        return statistics.median(self.values) if self.values else math.nan

    @property
    def is_met(self) -> bool | None:
        """Whether the median is within the goal; None if one of them is missing."""
        if self.goal is None or not self.values:
            return None
        return self.median <= self.goal if self.at_most else self.median >= self.goal


def cpu_per_event(result: Result) -> float:
    """Microseconds of CPU for each streamed event."""
    return of("cpu_s")(result) * 1e6 / max(1, of("events")(result))


def cpu_per_call(result: Result) -> float:
    """Microseconds of CPU for each call that is not streamed."""
    return of("cpu_s")(result) * 1e6 / max(1, of("calls")(result))


def of(*path: str) -> Value:
    """A value of a result, by its path."""

    def value(result: Result) -> float:
        found: Any = result
        for key in path:
            found = found[key] or {}
        return float(found or 0)

    return value


def median(runs: Runs, load: str, target: str, value: Value) -> float | None:
    """The median of a target's value under a load; None if it was not measured."""
    results = runs.get(load, {}).get(target)
    return statistics.median(map(value, results)) if results else None


def goals(runs: Runs) -> list[Figure]:
    """Every figure that has a goal, measured or not, and some that have none and were measured."""
    return [figure for figure in (*_own(runs), *_against_peers(runs)) if figure.values or figure.goal is not None]


def _own(runs: Runs) -> list[Figure]:
    def ratio(load: str, one: str, other: str, value: Value) -> list[float]:
        return _pairs(runs, (load, one), (load, other), value, _ratio)

    def added(load: str, value: Value) -> list[float]:
        return _pairs(runs, (load, GATEWAY), (load, DIRECT), value, lambda a, b: a - b)

    def each(load: str, value: Value, target: str = GATEWAY) -> list[float]:
        return [value(result) for result in runs.get(load, {}).get(target, ())]

    beside = "4 calls beside 1000 streams"
    images = "200 streams beside images"
    return [
        Figure(
            "CPU per event, 100 streams x 50/s / bare", ratio("100 streams", GATEWAY, FLOOR, cpu_per_event), "x", 2.2
        ),
        Figure("the same, 20 ms window / bare", ratio("100 streams", WINDOW, FLOOR, cpu_per_event), "x", 1.3),
        Figure("CPU per unary call, 16 in flight / bare", ratio("16 calls", GATEWAY, FLOOR, cpu_per_call), "x", 2.5),
        Figure("added time to first event, p50", added("first event", of("first_ms", "p50")), "ms", 1.5),
        Figure("added time to first event, p99", added("first event", of("first_ms", "p99")), "ms", 3.0),
        Figure("added delay of an event, 100 streams, p50", added("100 streams", of("delay_ms", "p50")), "ms", 0.5),
        Figure(
            "events/s, 1000 streams x 50/s / plain httpx build",
            ratio("1000 streams", GATEWAY, PLAIN, of("events_per_s")),
            *("x", 3.0, False),
        ),
        Figure("delay of an event there, p50", each("1000 streams", of("delay_ms", "p50")), "ms", 100),
        Figure(
            "CPU per unary call, 1000 streams open / none",
            _pairs(runs, (beside, GATEWAY), ("4 calls", GATEWAY), cpu_per_call, _ratio),
            *("x", 1.2),
        ),
        Figure("idle memory", each("start", of("rss_mb")), "MB", 80),
        Figure("memory per open stream", each("start", of("stream_kb")), "KB", 45),
        Figure("start until ready", each("start", of("seconds")), "s", 1.0),
        Figure("delay of an event, 200 streams x 20/s, p99", each("200 streams", of("delay_ms", "p99")), "ms"),
        Figure("the same beside pictures of 5 MB, p99", each(images, of("delay_ms", "p99")), "ms"),
        Figure(
            "events/s, 1000 streams, 2 workers on all cores / 1 on one",
            ratio("1000 streams", WORKERS, GATEWAY, of("events_per_s")),
            "x",
        ),
    ]


def _against_peers(runs: Runs) -> list[Figure]:
    def ratio(load: str, peer: str, value: Value, *, added: bool = False) -> list[float]:
        if not added:
            return _pairs(runs, (load, GATEWAY), (load, peer), value, _ratio)
        ours = _pairs(runs, (load, GATEWAY), (load, DIRECT), value, lambda a, b: a - b)
        theirs = _pairs(runs, (load, peer), (load, DIRECT), value, lambda a, b: a - b)
        return [_ratio(a, b) for a, b in zip(ours, theirs, strict=False)]

    calls, first = of("calls_per_s"), of("first_ms", "p50")
    return [
        Figure("requests/s / LiteLLM", ratio("16 calls", "LiteLLM", calls), "x", 20, at_most=False),
        Figure("CPU per event / LiteLLM", ratio("100 streams", "LiteLLM", cpu_per_event), "x", 1 / 3),
        Figure("added time to first event / LiteLLM", ratio("first event", "LiteLLM", first, added=True), "x", 0.1),
        Figure("requests/s / Portkey", ratio("16 calls", "Portkey", calls), "x", 2, at_most=False),
        Figure("CPU per event / Portkey", ratio("100 streams", "Portkey", cpu_per_event), "x", 1.0),
    ]


def _pairs(
    runs: Runs,
    one: tuple[str, str],
    other: tuple[str, str],
    value: Value,
    join: Callable[[float, float], float],
) -> list[float]:
    """What two targets, or two loads, give in each repetition."""
    left, right = (runs.get(load, {}).get(target, ()) for load, target in (one, other))
    return [join(value(a), value(b)) for a, b in zip(left, right, strict=False)]


def _ratio(a: float, b: float) -> float:
    return a / b if b else math.inf
