"""What telemetry costs: two gateways of the same build, one that exports and one that does not, side by side.

    python bench/telemetry.py [--collector takes|refused|black-hole|slow|fails|none] [--rounds 20]
        [--calls 300] [--callers 4] [--streams 8] [--rate 150] [--seconds 10] [--pace 0]

Prints the CPU time of a gateway for a unary call whose answer comes in one piece, for one whose answer may be so long
that the gateway gathers it from a stream, and for a streamed event; the latency of unary calls; and how the two
gateways compare: figures are medians over rounds, and so is the comparison within a round, with its quartiles. With the
collector "none" neither exports, so that what is found is chance. Simulator, collector and load run in processes of
their own.

CPU time is that of busy gateways: callers ask both in turn, call by call, so that what the machine does besides falls
on both. Latency is that of calls that come at random, so many a second, to the one or the other: busy callers would
pile up before whichever gateway is the slower, and make much of little.

Answers come at once. How calls fare that are answered as models do is another question: --pace 0.02.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

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
_TROUBLES = ("takes", "refused", "black-hole", "slow", "fails")
# Tokens at most: few, so that the answer comes in one piece, and so many that it is gathered from a stream.
_UNARY = {"unary": 100, "gathered": 100_000}
# Of the calls whose latency is measured.
_ARRIVING: Final = "arriving"
# Streams long enough that what a call costs beside its events does not show.
_STREAM_TEXT = "Why? [[repeat 40]] [[pace 0]]"


@dataclass
class Gateway:
    """A gateway that runs, and what was measured of it, an item a round: CPU time by what was asked, and latencies."""

    target: str
    pid: int
    cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    latencies: list[list[float]] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        """The CPU time of all its threads so far."""
        return (
            sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{self.pid}/task").glob("*/schedstat")) / 1e9
        )

    def resident_mebibytes(self) -> float:
        """What it holds of the memory."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@dataclass(frozen=True)
class Load:
    """How much is asked: rounds, and in each unary calls by so many callers, streams, and calls that come at random.

    Attributes:
        rate: Calls a second that come to each gateway.
        seconds: How long they come.
        pace: Seconds for each piece of a unary call's answer.
    """

    rounds: int
    calls: int
    callers: int
    streams: int
    rate: float
    seconds: float
    pace: float


Pair = list[tuple[Gateway, Any]]
"""Both gateways, each with a stub to call it."""


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


def params(text: str, max_tokens: int) -> MessageParams:
    """A small request."""
    messages = [InputMessage(role=ROLE_USER, text=text)]
    return MessageParams(model="claude-opus-5-5", max_tokens=max_tokens, messages=messages)


def unary(kind: str, load: Load) -> CreateMessageRequest:
    """The request of a unary call."""
    return CreateMessageRequest(params=params(f"Why is the sky blue? [[pace {load.pace}]]", _UNARY[kind]))


async def measure_unary(pair: Pair, load: Load, kind: str) -> None:
    """CPU time a call."""
    request = unary(kind, load)
    each = load.calls // load.callers

    async def work(turn: int) -> None:
        for number in range(each):
            for _, stub in pair if (number + turn) % 2 else reversed(pair):
                await stub.CreateMessage(request)

    before = [gateway.cpu_seconds() for gateway, _ in pair]
    await asyncio.gather(*(work(turn) for turn in range(load.callers)))
    for (gateway, _), start in zip(pair, before, strict=True):
        gateway.cpu[kind].append((gateway.cpu_seconds() - start) / (each * load.callers))


async def measure_arrivals(pair: Pair, load: Load, draw: random.Random) -> None:
    """CPU time and latency of calls that come at random."""
    request = unary("unary", load)
    latencies: dict[str, list[float]] = {gateway.target: [] for gateway, _ in pair}

    async def call(gateway: Gateway, stub: Any) -> None:
        began = time.perf_counter()
        await stub.CreateMessage(request)
        latencies[gateway.target].append(time.perf_counter() - began)

    before = [gateway.cpu_seconds() for gateway, _ in pair]
    due = time.perf_counter()
    end = due + load.seconds
    async with asyncio.TaskGroup() as calls:
        while (due := due + draw.expovariate(load.rate * len(pair))) < end:
            await asyncio.sleep(due - time.perf_counter())
            calls.create_task(call(*draw.choice(pair)))
    for (gateway, _), start in zip(pair, before, strict=True):
        taken = latencies[gateway.target]
        gateway.cpu[_ARRIVING].append((gateway.cpu_seconds() - start) / len(taken))
        gateway.latencies.append(taken)


async def measure_stream(pair: Pair, streams: int) -> None:
    """CPU time an event of long streams."""
    options = StreamOptions(exact_events=True)
    request = StreamMessageRequest(params=params(_STREAM_TEXT, 100_000), stream_options=options)

    async def read(stub: Any) -> int:
        return len([event async for event in stub.StreamMessage(request)])

    before = [gateway.cpu_seconds() for gateway, _ in pair]
    events = await asyncio.gather(*(read(stub) for _ in range(streams) for _, stub in pair))
    for (gateway, _), start in zip(pair, before, strict=True):
        # Both have read the same.
        gateway.cpu["event"].append((gateway.cpu_seconds() - start) / (sum(events) / len(pair)))


async def measure(off: Gateway, on: Gateway, load: Load) -> None:
    """Round by round, after one that warms up."""
    async with grpc.aio.insecure_channel(off.target) as off_channel, grpc.aio.insecure_channel(on.target) as on_channel:
        pair: Pair = [(off, MessagesServiceStub(off_channel)), (on, MessagesServiceStub(on_channel))]
        draw = random.Random(1)  # noqa: S311 # to draw, not to hide
        for number in range(load.rounds + 1):
            for kind in _UNARY:
                await measure_unary(pair, load, kind)
            await measure_stream(pair, load.streams)
            await measure_arrivals(pair, load, draw)
            if number == 0:
                for gateway, _ in pair:
                    gateway.cpu.clear()
                    gateway.latencies.clear()


def report(name: str, off: list[float], on: list[float]) -> str:
    """One line: medians of both in µs and their difference, and the median and quartiles of the ratios of rounds."""
    a, b = statistics.median(off) * 1e6, statistics.median(on) * 1e6
    low, middle, high = statistics.quantiles([(y / x - 1) * 100 for x, y in zip(off, on, strict=True)], n=4)
    return f"{name:24} {a:9.1f} {b:9.1f} {b - a:+9.1f}   {middle:+6.1f} %   [{low:+.1f} … {high:+.1f}]"


def report_all(off: Gateway, on: Gateway) -> str:
    """All lines."""
    lines = [f"{'µs':24} {'off':>9} {'on':>9} {'more':>9}   {'median':>8}   [quartiles]"]
    lines += [report(f"CPU {kind}", off.cpu[kind], on.cpu[kind]) for kind in off.cpu]
    for percent in (50, 99):
        both = ([statistics.quantiles(each, n=100)[percent - 1] for each in gateway.latencies] for gateway in (off, on))
        lines.append(report(f"latency {_ARRIVING} p{percent}", *both))
    lines.append(f"{'resident memory, MiB':24} {off.resident_mebibytes():9.1f} {on.resident_mebibytes():9.1f}")
    return "\n".join(lines)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="What telemetry costs.")
    parser.add_argument("--collector", default="takes", choices=[*_TROUBLES, "none"])
    parser.add_argument("--signals", default="both", choices=["both", "traces", "metrics"])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=300, help="unary calls of each kind a round")
    parser.add_argument("--streams", type=int, default=8, help="streams a round")
    parser.add_argument("--callers", type=int, default=4, help="how many call at once")
    parser.add_argument("--rate", type=float, default=150.0, help="calls that come to each gateway a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long they come")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds for each piece of a unary call's answer")
    arguments = parser.parse_args()
    load = Load(**{field.name: getattr(arguments, field.name) for field in fields(Load)})
    with ExitStack() as stack:
        simulator, _ = stack.enter_context(running((*_COMMAND, "simulate", "--listen", "127.0.0.1:0"), {}))
        serve = (*_COMMAND, "serve", "--listen", "127.0.0.1:0")
        quiet = {"ANTHROPIC_API_KEY": "bench", "ANTHROPIC_BASE_URL": simulator, "CLAUDE_GRPC_LOG_LEVEL": "info"}
        told = {}
        if arguments.collector != "none":
            collector, _ = stack.enter_context(running((*_COLLECTOR, arguments.collector), {}))
            told["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector
        if arguments.signals != "both":
            told[f"OTEL_{'METRICS' if arguments.signals == 'traces' else 'TRACES'}_EXPORTER"] = "none"
        off = Gateway(*stack.enter_context(running(serve, quiet)))
        on = Gateway(*stack.enter_context(running(serve, quiet | told)))
        asyncio.run(measure(off, on, load))
        print(f"collector: {arguments.collector}; {load}")
        print(report_all(off, on), flush=True)


if __name__ == "__main__":
    main()
