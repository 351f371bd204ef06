"""The load generator where Go is not installed: the same options and the same result, for smaller loads.

It costs more for each event than the gateway does, so figures of more than some fifty streams are its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import uvloop

from bench.fallback.apis import Api, GrpcApi, HttpApi
from bench.fallback.stamp import StampReader
from bench.usage import tree_usage

_OPENING_PATIENCE = 10.0
_UNMEASURED = 10


class _Load:
    """A load under way; times are seconds, and only those of the window are kept."""

    def __init__(self, api: Api, options: argparse.Namespace) -> None:
        self.api = api
        self.options = options
        self.measuring = False
        self.opened = self.messages = self.lost = self.errors = 0
        self.error = ""
        self.delays: list[float] = []

    async def stream(self) -> None:
        reader = StampReader()
        opened = False

        def read(text: bytes) -> None:
            nonlocal opened
            self.opened += not opened
            opened = True
            ages = list(reader.ages(text))
            if self.measuring:
                self.messages += 1
                self.delays.extend(ages)

        try:
            await self._noting(self.api.stream(_prompt(self.options.rate, self._events()), read))
        finally:
            self.lost += reader.lost

    def _events(self) -> int:
        """So many take a stream past the measurement: a peer may go on reading what is cancelled."""
        return int(self.options.rate * (self.options.warmup + self.options.window + 1))

    async def calls(self, call: Callable[[str], Awaitable[None]], times: list[float], interval: float = 0) -> None:
        while True:
            began = time.perf_counter()
            if await self._noting(call(_prompt(self.options.rate, 0))) and self.measuring:
                times.append(time.perf_counter() - began)
            await asyncio.sleep(max(0, interval - (time.perf_counter() - began)))

    async def _noting(self, doing: Awaitable[None]) -> bool:
        try:
            await doing
        except Exception as error:  # noqa: BLE001 # whatever it is, it counts
            self.errors += 1
            self.error = self.error or str(error)
            return False
        return True


async def _under_load(api: Api, options: argparse.Namespace) -> dict[str, Any]:
    load = _Load(api, options)
    calls: list[float] = []
    images: list[float] = []
    streams = [asyncio.create_task(load.stream()) for _ in range(options.streams)]
    patience = time.monotonic() + _OPENING_PATIENCE
    while load.opened < options.streams and time.monotonic() < patience:
        await asyncio.sleep(0.01)
    tasks = [asyncio.create_task(load.calls(api.create, calls)) for _ in range(options.inflight)]
    if options.images:
        tasks.append(asyncio.create_task(load.calls(api.create_with_image, images, 1 / options.images)))
    await asyncio.sleep(options.warmup)
    before, began = tree_usage(options.pid), time.perf_counter()
    load.measuring = True
    await asyncio.sleep(options.window)
    load.measuring = False
    after, window = tree_usage(options.pid), time.perf_counter() - began
    opened, errors = load.opened, load.errors
    if streams:
        await asyncio.wait(streams, timeout=2)
    for task in (*streams, *tasks):
        task.cancel()
    await asyncio.gather(*streams, *tasks, return_exceptions=True)
    return {
        "opened": opened,
        "window_s": window,
        "events": len(load.delays),
        "events_per_s": len(load.delays) / window,
        "messages_per_s": load.messages / window,
        "delay_ms": _quantiles(load.delays),
        "calls": len(calls),
        "calls_per_s": len(calls) / window,
        "latency_ms": _quantiles(calls),
        "image_latency_ms": _quantiles(images),
        "cpu_s": after.cpu_s - before.cpu_s,
        "rss_mb": after.rss_mb,
        "lost": load.lost,
        "errors": errors,
        "error": load.error,
    }


async def _first_events(api: Api, options: argparse.Namespace) -> dict[str, Any]:
    times = []
    for number in range(options.first + _UNMEASURED):
        began, first = time.perf_counter(), 0.0

        def read(_: bytes, began: float = began) -> None:
            nonlocal first
            first = first or time.perf_counter() - began

        await api.stream(_prompt(1000, 8), read)
        if number >= _UNMEASURED:
            times.append(first)
    return {"opened": options.first, "lost": 0, "errors": 0, "first_ms": _quantiles(times)}


def _prompt(rate: float, events: int) -> str:
    return f"[[bench rate={rate:g} events={events}]] Why is the sky blue?"


def _quantiles(seconds: Iterable[float]) -> dict[str, float] | None:
    times = sorted(seconds)
    if not times:
        return None
    return {"p50": statistics.median_low(times) * 1000, "p99": times[int(0.99 * (len(times) - 1))] * 1000}


def _seconds(text: str) -> float:
    """A duration as Go has it, of one unit."""
    return float(text[:-2]) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-target", required=True)
    parser.add_argument("-header", action="append", default=[])
    parser.add_argument("-model", default="claude-opus-5-5")
    for name in ("-streams", "-inflight", "-first", "-pid"):
        parser.add_argument(name, type=int, default=0)
    parser.add_argument("-connections", type=int, default=4)
    parser.add_argument("-rate", type=float, default=50)
    parser.add_argument("-images", type=float, default=0)
    parser.add_argument("-merge-window", type=_seconds, default=0)
    parser.add_argument("-warmup", type=_seconds, default=1)
    parser.add_argument("-window", type=_seconds, default=3)
    return parser.parse_args()


async def _main() -> None:
    options = _options()
    api: Api = GrpcApi(options) if options.target.startswith("grpc://") else HttpApi(options)
    async with api:
        measure = _first_events if options.first else _under_load
        print(json.dumps(await measure(api, options)))


if __name__ == "__main__":
    sys.exit(uvloop.run(_main()))
