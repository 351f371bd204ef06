"""Spans that have ended, on their way to an exporter: in batches, in a thread of its own, and only so many.

Does what the SDK's processor does, by the same settings, but not its system call for each span; and an exporter that
has failed is left alone for a while, for to fail takes longer than to send.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk.trace.export import SpanExportResult

from claude_grpc.config import ConfigurationError
from claude_grpc.telemetry.span import Span

__all__ = ["SpanQueue"]

_log: Final = logging.getLogger(__name__)


class SpanQueue:
    """Holds spans until they are exported.

    Args:
        exporter: Takes lists of spans, one after the other, and says how that went, as one of the SDK's does.
        environ: Says how many spans are held and sent, and how often.

    Raises:
        ConfigurationError: It says so with something that is not a number.
    """

    def __init__(self, exporter: Any, environ: Mapping[str, str]) -> None:
        self._exporter = exporter
        self._seconds = _number(environ, "OTEL_BSP_SCHEDULE_DELAY", 5000) / 1000
        self._most = _number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", 2048)
        self._batch = min(_number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512), self._most)
        self._spans: deque[Span] = deque()
        self._dropped = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def put(self, span: Span) -> None:
        """Have a span exported, if there is room for it."""
        if len(self._spans) >= self._most:
            self._dropped += 1
            return
        self._spans.append(span)
        if len(self._spans) == self._batch:
            self._wake.set()

    def close(self) -> None:
        """Export what is left, however long that takes, unless it cannot be exported."""
        self._closing.set()
        self._wake.set()
        self._thread.join()
        self._exporter.shutdown()

    def _run(self) -> None:
        goes_well, is_closing = True, False
        while not is_closing:
            # Full batches do not hurry an exporter that fails.
            (self._wake if goes_well else self._closing).wait(self._seconds)
            self._wake.clear()
            is_closing = self._closing.is_set()
            goes_well = self._export_batches(1 if is_closing else self._batch)
        self._tell_dropped(self._dropped + len(self._spans))

    def _export_batches(self, least: int) -> bool:
        """Export what there is, and go on while there are so many spans again; return whether that went well."""
        goes_well = self._export()
        while goes_well and len(self._spans) >= least:
            goes_well = self._export()
        return goes_well

    def _export(self) -> bool:
        dropped, self._dropped = self._dropped, 0
        self._tell_dropped(dropped)
        batch = [self._spans.popleft() for _ in range(min(len(self._spans), self._batch))]
        try:
            return not batch or self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:  # noqa: BLE001 # whatever it is, there are more spans to come
            _log.exception("Spans could not be exported")
            return False

    def _tell_dropped(self, spans: int) -> None:
        if spans:
            _log.warning("Spans were dropped: the exporter does not keep up", extra={"spans": spans})


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    given = environ.get(name, "").strip()
    if given and not (given.isdecimal() and int(given)):
        raise ConfigurationError(f"{name}: must be a whole number above 0")
    return int(given or default)
