"""Watches the whole test run for what must never be told: keys, prompts and callers' headers.

Every gateway that a test opens in its own process tells it all spans, metrics and lines of the log. ``processes`` looks
through the logs of other processes, ``otlp`` through what collectors get, ``stack`` through what callers and upstream
get. With content switched on, the prompt may be on spans.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import grpc
import pytest
from opentelemetry.sdk.trace.sampling import DEFAULT_ON

from claude_grpc.telemetry.export import Export
from claude_grpc.telemetry.logs import _JsonFormatter
from claude_grpc.telemetry.sdk.tracer import SamplingTracer
from claude_grpc.telemetry.span import Span
from support.memory_metrics import MemoryMetrics

CANARY_KEY: Final = "sk-canary-key-that-nobody-may-see"
CANARY_PROMPT: Final = "Why is the sky blue?"
"""What requests of tests ask unless they ask something else; the simulator's answers quote it."""
CANARY_TOKEN: Final = "canary-token-that-a-caller-sends"
CANARY_METADATA: Final = (
    ("authorization", f"Bearer {CANARY_TOKEN}"),
    ("x-api-key", CANARY_TOKEN),
    ("cookie", f"session={CANARY_TOKEN}"),
    ("baggage", f"user={CANARY_TOKEN}"),
    ("x-canary", CANARY_TOKEN),
    ("x-canary-bin", CANARY_TOKEN.encode()),
)
"""What callers of tests send with each call: it is nobody's but theirs, and goes no further."""

_CANARIES: Final = (CANARY_KEY, CANARY_PROMPT, CANARY_TOKEN)

# Looked through from warnings on. Less of the first ones is in no gateway's log: `configure_logging` sees to it, for
# they tell of requests, and httpcore of headers. The last one is the official SDK, with which tests compare: another
# program, and it tells what it sends.
_QUIET: Final = frozenset({"aiohttp", "asyncio", "httpcore", "httpx", "anthropic"})


def canaries_in(*told: object, canaries: Sequence[str] = _CANARIES) -> list[str]:
    """The canaries that something holds."""
    text = "\n".join(each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in told)
    return [canary for canary in canaries if canary in text]


def look_through(where: str, *told: object, canaries: Sequence[str] = _CANARIES) -> None:
    """Fail if there is a canary."""
    found = canaries_in(*told, canaries=canaries)
    assert not found, f"{where}: {', '.join(found)}"


def with_canary_metadata(channel: grpc.aio.Channel) -> grpc.aio.Channel:
    """The channel, on which each call has the canary metadata from now on, but for keys that the test has sent itself.

    No interceptor does it: behind one, calls would flow, end and be cancelled in another way.
    """
    for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
        setattr(channel, kind, _sending_canaries(getattr(channel, kind)))
    return channel


def _sending_canaries(make: Callable[..., Any]) -> Callable[..., Any]:
    def made(*args: Any, **options: Any) -> Any:
        method = make(*args, **options)

        def call(*request: Any, metadata: Any = None, **how: Any) -> Any:
            own = tuple(metadata or ())
            taken = {key for key, _ in own}
            return method(*request, metadata=(*own, *(pair for pair in CANARY_METADATA if pair[0] not in taken)), **how)

        return call

    return made


@dataclass
class Watch:
    """What was found in the telemetry of the gateways of one test; and how much was looked through.

    Attributes:
        lines: How many, by their loggers.
    """

    found: list[str] = field(default_factory=list)
    spans: int = 0
    points: int = 0
    lines: Counter[str] = field(default_factory=Counter)

    def keep(self, span: Span) -> None:
        """Look through a span."""
        self.spans += 1
        told = [span.shape.name, span.shape.attributes, span.attributes, *(event[:2] for event in span.events)]
        self._look(f"the span {span.shape.name}", *told)

    def overhear(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Look through every line that a gateway could log, whatever the level.

        It is looked through as it would be written, and as what it is made of: bytes would be written as base64. Nobody
        else hears more than before. A handler at a lower level would not do: what the test has set up would get the
        lines, too, and `configure_logging` would close it.
        """
        is_enabled, handle = logging.Logger.isEnabledFor, logging.Logger.handle
        form = _JsonFormatter()

        def is_heard(logger: logging.Logger, level: int) -> bool:
            return level >= (logging.WARNING if logger.name.partition(".")[0] in _QUIET else logging.DEBUG)

        def hear(logger: logging.Logger, record: logging.LogRecord) -> None:
            if is_heard(logger, record.levelno):
                self.lines[record.name] += 1
                self._look(f"a line of {record.name}", form.format(record), vars(record))
            if is_enabled(logger, record.levelno):
                handle(logger, record)

        monkeypatch.setattr(
            logging.Logger, "isEnabledFor", lambda logger, level: is_heard(logger, level) or is_enabled(logger, level)
        )
        monkeypatch.setattr(logging.Logger, "handle", hear)

    def opening(self, open_export: Callable[[Mapping[str, str], str], Export]) -> Callable[..., Export]:
        """Instead of ``open_export``: what is told to nobody is told to the watch."""

        def watched(environ: Mapping[str, str], version: str) -> Export:
            export = open_export(environ, version)
            if export.tracer or export.meter or environ.get("OTEL_SDK_DISABLED"):
                return export
            metrics = MemoryMetrics()
            tracer = SamplingTracer(DEFAULT_ON, self.keep)
            closers = (lambda: self._look_through_metrics(metrics.points()), metrics.close)
            return replace(export, tracer=tracer, meter=metrics.meter, closers=closers)

        return watched

    def _look_through_metrics(self, metrics: Mapping[str, list[Any]]) -> None:
        for name, points in metrics.items():
            self.points += len(points)
            self._look(f"the metric {name}", *(point.attributes for point in points))

    def _look(self, where: str, *told: object) -> None:
        self.found += [f"{where}: {canary}" for canary in canaries_in(*told)]
