"""Whether large requests hold up other callers' events: 200 streams run while images and documents pass by.

Upstream, two gateways, the one who sends what is large and the one who reads the streams are processes of their own.
The streams all run through one gateway. By turns, nothing large passes; it passes through the other gateway, which
tells what the load on the machine does by itself; and it passes through the streams' own. An event's delay is the time
from upstream's write to the reader's read. What counts are all events of ten seconds in which one of each kind passes;
beside it stands the worst, with one large call after the other and only the events that were under way while one was.
Of each turn's p99 the median over the rounds stands for its kind, so that one hiccup of the machine does not. Fails if
the p99 of the ten seconds is more than the limit higher where what is large passes through the streams' own gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from subprocess import PIPE, Popen
from typing import IO, Any

import grpc
import uvloop

from bench import upstream
from claude_grpc.v1.content_pb2 import ContentBlock
from claude_grpc.v1.messages_pb2 import (
    ROLE_USER,
    CreateMessageRequest,
    InputMessage,
    MessageParams,
    StreamMessageRequest,
)

LIMIT_MS = 20.0
PAUSE_SECONDS = 0.3
SERVICE = "/claude_grpc.v1.MessagesService/"
STAMP_DIGITS = 20
_EACH, _EACH_SECONDS = "one of each", 10.0

Seen = list[tuple[int, int]]
"""When upstream wrote an event and when it was read here, in nanoseconds of the monotonic clock."""


Turns = dict[str, list[list[float]]]
"""Milliseconds of all events of each turn, and of all calls, by what the turns are."""


def large(kind: str) -> tuple[str, bytes]:
    """The method and the request of a large call; the PDF's JSON is as long as the API takes."""
    content: Any = {
        "image": lambda: {"image": {"source": {"base64": {"media_type": "image/png", "data": _noise(5_000_000)}}}},
        "pdf": lambda: {
            "document": {"source": {"base64": {"media_type": "application/pdf", "data": _noise(23_500_000)}}}
        },
        "text": lambda: {"document": {"source": {"text": {"media_type": "text/plain", "data": "A té. " * 4_300_000}}}},
    }[kind]()
    turn = InputMessage(role=ROLE_USER, content=[ContentBlock(**content)])
    params = MessageParams(model="claude-opus-5-5", max_tokens=100, messages=[turn])
    if kind == "image":
        return "StreamMessage", StreamMessageRequest(params=params).SerializeToString()
    return "CreateMessage", CreateMessageRequest(params=params).SerializeToString()


def _noise(size: int) -> bytes:
    return random.Random(0).randbytes(size)  # noqa: S311 # the same in every run


async def send_large() -> None:
    """Obey lines ``kind address seconds``: send one call after the other; answer with the times of each."""
    requests = {kind: large(kind) for kind in KINDS}
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        kind, address, seconds = line.split()
        end = time.monotonic() + float(seconds)
        async with grpc.aio.insecure_channel(address, [("grpc.max_send_message_length", -1)]) as channel:
            method, request = requests[kind]
            call = channel.unary_stream(SERVICE + method)
            times: list[str] = []
            while time.monotonic() < end:
                begun = time.monotonic_ns()
                async for _ in call(request):
                    pass
                times.append(f"{begun}-{time.monotonic_ns()}")
                await asyncio.sleep(PAUSE_SECONDS)
        print(*times, flush=True)


KINDS = ("image", "pdf", "text")


class Streams:
    """Reads the streams, and notes each event's delay."""

    def __init__(self, channel: grpc.aio.Channel, count: int, every_ms: int) -> None:
        self.seen: Seen = []
        # A reader that decodes messages is slower than the gateway, and would measure itself.
        self._call = channel.unary_stream(SERVICE + "StreamMessage")
        params = MessageParams(model=f"every_{every_ms}_1000000", max_tokens=100)
        params.messages.add(role=ROLE_USER, text="Hi")
        self._request = StreamMessageRequest(params=params).SerializeToString()
        self._tasks = [asyncio.create_task(self._read()) for _ in range(count)]

    async def _read(self) -> None:
        async for event in self._call(self._request):
            now = time.monotonic_ns()
            at = event.find(b"@") + 1
            if at:
                self.seen.append((int(event[at : at + STAMP_DIGITS]), now))

    async def watch(self, seconds: float) -> Seen:
        """The events of the next seconds."""
        self.seen = []
        await asyncio.sleep(seconds)
        for task in self._tasks:
            if task.done():
                task.result()
                raise SystemExit("a stream ended")
        return self.seen

    def close(self) -> None:
        """End all streams."""
        for task in self._tasks:
            task.cancel()


class Sender:
    """The process that sends what is large."""

    def __init__(self, process: Popen[str]) -> None:
        self._in, self._out = _pipes(process)
        self._out.readline()

    async def send(self, kind: str, address: str, seconds: float) -> Seen:
        """Begin and end of each call."""
        self._in.write(f"{kind} {address} {seconds}\n")
        self._in.flush()
        line = await asyncio.to_thread(self._out.readline)
        return [(int(begun), int(ended)) for begun, _, ended in (span.partition("-") for span in line.split())]

    async def send_each(self, kinds: list[str], address: str) -> Seen:
        """One call of each kind: its begin and end."""
        return [call for kind in kinds for call in await self.send(kind, address, 0.001)]


def _pipes(process: Popen[str]) -> tuple[IO[str], IO[str]]:
    if process.stdin is None or process.stdout is None:
        raise SystemExit("a process without pipes")
    return process.stdin, process.stdout


@contextmanager
def _process(*command: str, **environment: str) -> Iterator[Popen[str]]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CLAUDE_GRPC_", "ANTHROPIC_"))}
    with Popen([sys.executable, *command], stdin=PIPE, stdout=PIPE, text=True, env=kept | environment) as process:
        try:
            yield process
        finally:
            process.terminate()


async def _measure(stack: ExitStack, arguments: argparse.Namespace) -> Turns:
    base_url = _pipes(stack.enter_context(_process(upstream.__file__)))[1].readline().strip()
    here, elsewhere = (_gateway(stack, base_url, arguments.engine) for _ in range(2))
    sender = Sender(stack.enter_context(_process("-m", "bench.large_bodies", "--send")))
    turns: Turns = defaultdict(list)
    async with grpc.aio.insecure_channel(here, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        streams = Streams(channel, arguments.streams, 1000 // arguments.rate)
        await streams.watch(2)
        for kind in arguments.kinds:
            await sender.send(kind, here, 0.1)  # what is filled once is filled now
        for _ in range(arguments.rounds):
            turns["quiet"].append(_milliseconds(await streams.watch(arguments.seconds)))
            for kind in arguments.kinds:
                for place, address in (("elsewhere", elsewhere), ("here", here)):
                    calls = asyncio.create_task(sender.send(kind, address, arguments.seconds))
                    seen = await streams.watch(arguments.seconds + 0.5)
                    turns[f"{kind} {place}"].append(_milliseconds(_during(seen, await calls)))
                    turns[f"{kind} {place}: calls"].append(_milliseconds(await calls))
                    await streams.watch(0.5)
            for place, address in (("elsewhere", elsewhere), ("here", here)):
                passing = asyncio.create_task(sender.send_each(arguments.kinds, address))
                turns[f"{_EACH} {place}"].append(_milliseconds(await streams.watch(_EACH_SECONDS)))
                turns[f"{_EACH} {place}: calls"].append(_milliseconds(await passing))
        streams.close()
    return turns


def _gateway(stack: ExitStack, base_url: str, engine: str) -> str:
    command = ("-m", "claude_grpc", "serve", "--listen", "127.0.0.1:0")
    settings = {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "key", "CLAUDE_GRPC_ENGINE": engine}
    process = stack.enter_context(_process(*command, CLAUDE_GRPC_LOG_LEVEL="warning", **settings))
    return _pipes(process)[1].readline().strip().rpartition(" ")[2]


def _during(seen: Seen, calls: Seen) -> Seen:
    """The events that were under way while a call was."""
    return [(sent, read) for sent, read in seen if any(begun <= read and sent <= ended for begun, ended in calls)]


def _milliseconds(spans: Seen) -> list[float]:
    return [(end - begin) / 1e6 for begin, end in spans]


def _report(turns: Turns, kinds: list[str]) -> bool:
    print(
        f"{'large calls':<22}{'calls':>6}{'took':>8}{'events':>9}{'p50':>8}{'p99':>8}{'most':>8}  ms   each turn's p99"
    )
    for row in ["quiet", *(f"{kind} {place}" for kind in [*kinds, _EACH] for place in ("elsewhere", "here"))]:
        calls = _joined(turns[f"{row}: calls"])
        took = f"{median(calls):.0f}" if calls else ""
        events = _joined(turns[row])
        each = " ".join(f"{_share(turn, 0.99):.0f}" for turn in turns[row])
        print(
            f"{row:<22}{len(calls) or '':>6}{took:>8}{len(events):>9}"
            f"{median(events):>8.1f}{_p99(turns[row]):>8.1f}{max(events):>8.1f}  p99 {each}"
        )
    quiet = _p99(turns["quiet"])
    for kind in [*kinds, _EACH]:
        here, elsewhere = _p99(turns[f"{kind} here"]), _p99(turns[f"{kind} elsewhere"])
        print(f"{kind}: p99 {here - elsewhere:+.1f} ms over elsewhere, {here - quiet:+.1f} ms over quiet")
    fine = here - elsewhere <= LIMIT_MS
    print(f"{_EACH}, within {_EACH_SECONDS:.0f} s: {'not more' if fine else 'MORE'} than {LIMIT_MS:.0f} ms")
    return fine


def _joined(turns: list[list[float]]) -> list[float]:
    return [value for turn in turns for value in turn]


def _p99(turns: list[list[float]]) -> float:
    return median(_share(turn, 0.99) for turn in turns)


def _share(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def main() -> None:
    """Measure, print, and fail if it is too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["aiohttp", "httpx"], default="aiohttp")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rate", type=int, default=10, help="events of each stream in a second, as Claude writes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["image", "pdf"])
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.send:
        uvloop.run(send_large())
        return
    with ExitStack() as stack:
        turns = uvloop.run(_measure(stack, arguments))
    if not _report(turns, arguments.kinds):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
