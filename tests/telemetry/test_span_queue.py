"""Spans that have ended get to their exporter in batches, and never keep more memory than they may."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from claude_grpc.config import ConfigurationError
from claude_grpc.telemetry.sdk.queue import SpanQueue
from claude_grpc.telemetry.span import SERVER, Shape, Span, Trace

NEVER = {"OTEL_BSP_SCHEDULE_DELAY": "3600000"}


class Exporter:
    """Keeps batches; stands still while it is held, and fails if it is told to."""

    def __init__(self, *, fails: int = 0) -> None:
        self.batches: list[int] = []
        self.times: list[float] = []
        self.called, self.held, self.closed = threading.Semaphore(0), threading.Event(), False
        self.held.set()
        self._fails = fails

    def export(self, spans: list[Span]) -> SpanExportResult:
        self.batches.append(len(spans))
        self.times.append(time.monotonic())
        self.called.release()
        self.held.wait()
        return SpanExportResult.SUCCESS if len(self.batches) > self._fails else self.fail()

    def fail(self) -> SpanExportResult:
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.closed = True


def put(queue: SpanQueue, count: int) -> None:
    for _ in range(count):
        queue.put(Span(Shape("n", SERVER, {}), Trace(1, 3)))


def test_a_batch_goes_as_soon_as_it_is_full_and_the_rest_at_the_end() -> None:
    exporter = Exporter()
    queue = SpanQueue(exporter, NEVER | {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10"})
    put(queue, 10)
    assert exporter.called.acquire(timeout=20)
    put(queue, 25)
    queue.close()
    assert sum(exporter.batches) == 35
    assert max(exporter.batches) == 10
    assert exporter.closed


def test_what_is_not_a_batch_goes_after_a_while() -> None:
    exporter = Exporter()
    queue = SpanQueue(exporter, {"OTEL_BSP_SCHEDULE_DELAY": "1"})
    put(queue, 1)
    assert exporter.called.acquire(timeout=20)
    queue.close()
    assert exporter.batches == [1]


def test_what_does_not_fit_is_dropped_and_told(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Exporter()
    exporter.held.clear()
    queue = SpanQueue(exporter, NEVER | {"OTEL_BSP_MAX_QUEUE_SIZE": "20", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10"})
    put(queue, 10)
    assert exporter.called.acquire(timeout=20)
    put(queue, 1000)
    exporter.held.set()
    queue.close()
    assert sum(exporter.batches) == 30
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert vars(record)["spans"] == 980


class RaisingExporter(Exporter):
    """Is one that fails with an exception, which none should."""

    def fail(self) -> SpanExportResult:
        raise OSError("no")


@pytest.mark.parametrize("kind", [Exporter, RaisingExporter])
def test_an_exporter_that_fails_is_left_alone_for_a_while_however_full_batches_are(kind: type[Exporter]) -> None:
    exporter = kind(fails=1)
    queue = SpanQueue(exporter, {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10"})
    put(queue, 30)
    for _ in range(3):
        assert exporter.called.acquire(timeout=20)
    queue.close()
    assert exporter.batches == [10, 10, 10]
    first, second, _ = exporter.times
    assert second - first >= 0.2


def test_an_exporter_that_raises_is_told(caplog: pytest.LogCaptureFixture) -> None:
    queue = SpanQueue(RaisingExporter(fails=1), NEVER)
    put(queue, 1)
    queue.close()
    assert "could not be exported" in caplog.text


def test_a_queue_that_closes_does_not_wait_for_an_exporter_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Exporter(fails=99)
    queue = SpanQueue(exporter, NEVER | {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10"})
    put(queue, 10)
    assert exporter.called.acquire(timeout=20)
    put(queue, 35)
    queue.close()
    assert exporter.batches == [10, 10]
    assert exporter.closed
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert vars(record)["spans"] == 25


@pytest.mark.parametrize("value", ["x", "0", "-1", "1.5"])
def test_a_wrong_number_is_told_by_its_name(value: str) -> None:
    with pytest.raises(ConfigurationError, match="OTEL_BSP_MAX_QUEUE_SIZE"):
        SpanQueue(Any, {"OTEL_BSP_MAX_QUEUE_SIZE": value})
