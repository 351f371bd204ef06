"""What telemetry costs: two gateways of the same build, one that exports and one that does not, in turn.

    python bench/telemetry.py [--collector takes|refused|black-hole|slow|fails] [--rounds 15]
        [--calls 300] [--streams 8]

Prints the CPU time of a gateway for a unary call and for a streamed event, the latency of unary calls, and how the two
gateways compare: the median of the ratios of neighbouring rounds, so that what the machine does besides falls on both.
Simulator, collector and load run in processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from claude_grpc.v1.messages_pb2 import (
    ROLE_USER,
    CreateMessageRequest,
    InputMessage,
    MessageParams,
    StreamMessageRequest,
    StreamOptions,
)
from claude_grpc.v1.messages_pb2_grpc import MessagesServiceStub

_COMMAND = (sys.executable, "-m", "claude_grpc")
_COLLECTOR = (sys.executable, str(Path(__file__).with_name("collector.py")))
_CONCURRENCY = 4
# Streams long enough that what a call costs beside its events does not show.
_STREAM_TEXT = "Why? [[repeat 40]] [[pace 0]]"


@dataclass
class Gateway:
    """A gateway that runs, and what was measured of it, a number a round."""

    target: str
    pid: int
    unary: list[float] = field(default_factory=list)
    event: list[float] = field(default_factory=list)
    median: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        """The CPU time of all its threads so far."""
        return (
            sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{self.pid}/task").glob("*/schedstat")) / 1e9
        )

    def resident_mebibytes(self) -> float:
        """What it holds of the memory."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@contextmanager
def running(command: tuple[str, ...], environ: dict[str, str]) -> Iterator[tuple[str, int]]:
    """A process that says in its first line where it is, and its id."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | environ
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1], process.pid
        finally:
            process.terminate()


def params(text: str) -> MessageParams:
    """A small request."""
    messages = [InputMessage(role=ROLE_USER, text=text)]
    return MessageParams(model="claude-opus-5-5", max_tokens=100_000, messages=messages)


async def measure_unary(gateway: Gateway, stub: Any, calls: int) -> None:
    """CPU time a call, and the latency as callers see it."""
    request = CreateMessageRequest(params=params("Why is the sky blue?"))
    latencies = []

    async def work() -> None:
        for _ in range(calls // _CONCURRENCY):
            began = time.perf_counter()
            await stub.CreateMessage(request)
            latencies.append(time.perf_counter() - began)

    before = gateway.cpu_seconds()
    await asyncio.gather(*(work() for _ in range(_CONCURRENCY)))
    gateway.unary.append((gateway.cpu_seconds() - before) / len(latencies))
    gateway.median.append(statistics.median(latencies))
    gateway.p99.append(statistics.quantiles(latencies, n=100)[98])


async def measure_stream(gateway: Gateway, stub: Any, streams: int) -> None:
    """CPU time an event of long streams."""
    options = StreamOptions(exact_events=True)
    request = StreamMessageRequest(params=params(_STREAM_TEXT), stream_options=options)

    async def work() -> int:
        return len([event async for event in stub.StreamMessage(request)])

    before = gateway.cpu_seconds()
    events = sum(await asyncio.gather(*(work() for _ in range(streams))))
    gateway.event.append((gateway.cpu_seconds() - before) / events)


async def measure(off: Gateway, on: Gateway, *, rounds: int, calls: int, streams: int) -> None:
    """Both gateways, round by round, each first every other time."""
    async with grpc.aio.insecure_channel(off.target) as off_channel, grpc.aio.insecure_channel(on.target) as on_channel:
        pairs = [(off, MessagesServiceStub(off_channel)), (on, MessagesServiceStub(on_channel))]
        for number in range(rounds + 1):
            for gateway, stub in pairs if number % 2 else reversed(pairs):
                await measure_unary(gateway, stub, calls)
                await measure_stream(gateway, stub, streams)
            if number == 0:
                # The first round warms up.
                for gateway, _ in pairs:
                    for figures in (gateway.unary, gateway.event, gateway.median, gateway.p99):
                        figures.clear()


def report(name: str, off: list[float], on: list[float]) -> str:
    """One line: both medians, and the median and quartiles of the ratios."""
    ratios = sorted(b / a for a, b in zip(off, on, strict=True))
    low, middle, high = statistics.quantiles(ratios, n=4)
    micros = f"{statistics.median(off) * 1e6:9.1f} {statistics.median(on) * 1e6:9.1f}"
    return f"{name:24} {micros}   {(middle - 1) * 100:+6.1f} %   [{(low - 1) * 100:+.1f} … {(high - 1) * 100:+.1f}]"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="What telemetry costs.")
    parser.add_argument("--collector", default="takes", choices=["takes", "refused", "black-hole", "slow", "fails"])
    parser.add_argument("--signals", default="both", choices=["both", "traces", "metrics"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=300, help="unary calls a round")
    parser.add_argument("--streams", type=int, default=8, help="streams a round")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        simulator, _ = stack.enter_context(running((*_COMMAND, "simulate", "--listen", "127.0.0.1:0"), {}))
        collector, _ = stack.enter_context(running((*_COLLECTOR, arguments.collector), {}))
        serve = (*_COMMAND, "serve", "--listen", "127.0.0.1:0")
        quiet = {"ANTHROPIC_API_KEY": "bench", "ANTHROPIC_BASE_URL": simulator, "CLAUDE_GRPC_LOG_LEVEL": "info"}
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector}
        if arguments.signals != "both":
            told[f"OTEL_{'METRICS' if arguments.signals == 'traces' else 'TRACES'}_EXPORTER"] = "none"
        off = Gateway(*stack.enter_context(running(serve, quiet)))
        on = Gateway(*stack.enter_context(running(serve, quiet | told)))
        asyncio.run(measure(off, on, rounds=arguments.rounds, calls=arguments.calls, streams=arguments.streams))
        print(f"collector: {arguments.collector}; {arguments.rounds} rounds of {arguments.calls} calls")
        print(f"{'µs':24} {'off':>9} {'on':>9}   {'median':>8}   [quartiles]")
        print(report("CPU a unary call", off.unary, on.unary))
        print(report("CPU a streamed event", off.event, on.event))
        print(report("latency p50", off.median, on.median))
        print(report("latency p99", off.p99, on.p99))
        print(f"{'resident memory, MiB':24} {off.resident_mebibytes():9.1f} {on.resident_mebibytes():9.1f}")


if __name__ == "__main__":
    main()
