"""All metrics by name, each with its unit, its buckets and a sentence about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from claude_grpc.telemetry import names
from claude_grpc.telemetry.histogram import Histogram
from claude_grpc.telemetry.meter import Meter
from claude_grpc.telemetry.tally import Labels, Reading, Tally

__all__ = ["Instruments"]

# The conventions' own end at 10 s and at 82 s; an answer may take ten minutes.
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 600)
_CHUNK_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_LAG_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)

_RPC_LABELS: Final = (names.RPC_METHOD, names.RPC_STATUS_CODE, names.ERROR_TYPE)
_CALL_LABELS: Final = (names.OPERATION, names.REQUEST_MODEL, names.ERROR_TYPE)
_TOKEN_LABELS: Final = (names.REQUEST_MODEL, names.RESPONSE_MODEL, names.ANTHROPIC_SERVICE_TIER)


class Instruments:
    """What a meter makes of the names.

    Args:
        meter: Has them read.
        provider: Attributes that tell of which upstream calls and tokens are.
    """

    def __init__(self, meter: Meter, provider: Labels) -> None:
        self._meter = meter
        self._gauges: list[_Gauge] = []
        self._make_histograms(provider)
        self._make_call_counters()
        self._make_upstream_counters()
        self.tokens = self._token_counters(provider)

    def gauge(self, name: str, description: str, unit: str, read: Callable[[], Reading]) -> None:
        """Add a gauge whose values ``read`` knows."""
        gauge = _Gauge(read)
        self._gauges.append(gauge)
        self._meter.gauge(name, description, unit, gauge.last)

    def read_gauges(self) -> None:
        """Read all gauges; on the event loop, where what they read lives."""
        for gauge in self._gauges:
            gauge.read()

    def _make_histograms(self, provider: Labels) -> None:
        def of_calls(name: str, description: str, bounds: tuple[float, ...] = _SECONDS) -> Histogram:
            return self._meter.histogram(name, description, Histogram(bounds, *_CALL_LABELS, fixed=provider))

        rpcs = Histogram(_SECONDS, *_RPC_LABELS, fixed={names.RPC_SYSTEM: names.GRPC})
        self.rpc_duration = self._meter.histogram(names.METRIC_RPC_DURATION, "Duration of RPCs.", rpcs)
        self.inference_duration = of_calls(
            names.METRIC_INFERENCE_DURATION, "Duration of model calls, with all attempts and the whole answer."
        )
        self.operation_duration = of_calls(
            names.METRIC_OPERATION_DURATION, "Duration of other calls of the Claude API."
        )
        self.first_chunk = of_calls(
            names.METRIC_TIME_TO_FIRST_CHUNK, "Time from a model call's start to the first event of its stream."
        )
        self.chunk_interval = of_calls(
            names.METRIC_TIME_PER_OUTPUT_CHUNK, "Mean time between the events of a stream.", _CHUNK_SECONDS
        )
        self.loop_lag = self._meter.histogram(
            names.METRIC_LOOP_LAG, "How late the event loop is.", Histogram(_LAG_SECONDS)
        )

    def _make_call_counters(self) -> None:
        calls = "{call}"
        method, reason = names.RPC_METHOD, names.REASON
        self.active = self._level(names.METRIC_RPC_ACTIVE, "RPCs that run.", calls, method)
        self.failures = self._counter(names.METRIC_RPC_FAILURES, "RPCs that failed.", calls, method, reason)
        self.cancels = self._counter(
            names.METRIC_RPC_CANCELS,
            "RPCs whose caller left or ran out of time.",
            calls,
            method,
            names.PHASE,
            names.CAUSE,
        )
        self.without_deadline = self._counter(
            names.METRIC_RPC_WITHOUT_DEADLINE, "RPCs that got their deadline from the gateway.", calls, method
        )
        self.fallbacks = self._counter(
            names.METRIC_FALLBACKS, "Model calls for which another model was asked.", calls, reason
        )

    def _make_upstream_counters(self) -> None:
        exchanges = "{exchange}"
        self.exchanges = self._level(
            names.METRIC_UPSTREAM_EXCHANGES, "HTTP exchanges that run or wait for a connection.", exchanges, names.STATE
        )
        self.attempts = self._counter(
            names.METRIC_UPSTREAM_ATTEMPTS, "HTTP exchanges with upstream.", exchanges, names.OUTCOME
        )
        self.retries = self._counter(
            names.METRIC_UPSTREAM_RETRIES, "Attempts that were made again.", exchanges, names.REASON
        )
        self.held_back = self._counter(
            names.METRIC_UPSTREAM_HELD_BACK,
            "Attempts that were not made again for want of a retry budget, or with a breaker open.",
            exchanges,
            names.REASON,
        )

    def _token_counters(self, provider: Labels) -> tuple[Tally, ...]:
        """Input, output, read from the cache, written to it, and thought."""
        fixed = {**provider, names.OPERATION: names.CHAT, names.TOKEN_MODALITY: names.MODALITY_UNKNOWN}
        kinds = (
            (names.METRIC_USAGE_INPUT, "Input tokens, cached ones included."),
            (names.METRIC_USAGE_OUTPUT, "Output tokens, thinking included."),
            (names.METRIC_USAGE_CACHE_READ, "Input tokens that were read from the cache."),
            (names.METRIC_USAGE_CACHE_WRITE, "Input tokens that were written to the cache."),
            (names.METRIC_USAGE_REASONING, "Output tokens that were thinking."),
        )
        return tuple(
            self._counter(name, description, "{token}", *_TOKEN_LABELS, fixed=fixed) for name, description in kinds
        )

    def _counter(self, name: str, description: str, unit: str, *labels: str, fixed: Labels | None = None) -> Tally:
        tally = Tally(*labels, fixed=fixed)
        self._meter.counter(name, description, unit, tally.read)
        return tally

    def _level(self, name: str, description: str, unit: str, *labels: str) -> Tally:
        tally = Tally(*labels)
        self._meter.level(name, description, unit, tally.read)
        return tally


class _Gauge:
    """Holds the last values, for the thread that collects them."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        self._read = read
        self._last: Reading = ()

    def read(self) -> None:
        self._last = list(self._read())

    def last(self) -> Reading:
        return self._last
