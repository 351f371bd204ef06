"""Gathering: what is held and for how long; and that a gathered stream is the same stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_grpc.upstream.windows import Gathering, Windows
from support.properties import properties

RECORDED = sorted((Path(__file__).parents[1] / "golden" / "streams").glob("*.sse"))
START = b'event: message_start\ndata: {"type":"message_start"}\n\n'
STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'


def delta(text: str) -> bytes:
    return b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"%s"}}\n\n' % text.encode()


class Clock(Windows):
    """Windows that end when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.callbacks: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def at_end(self, seconds: float, callback: Callable[[], None]) -> None:
        self.callbacks.append((self.now + seconds, callback))

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        due = [callback for at, callback in self.callbacks if at <= self.now]
        self.callbacks = [(at, callback) for at, callback in self.callbacks if at > self.now]
        for callback in due:
            callback()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def delivered() -> list[bytes]:
    return []


@pytest.fixture
def gathering(clock: Clock, delivered: list[bytes]) -> Gathering:
    return Gathering(clock, 1.0, delivered.append)


def test_deltas_that_follow_others_are_delivered_together_when_the_window_ends(
    gathering: Gathering, clock: Clock, delivered: list[bytes]
) -> None:
    gathering.take(START)
    gathering.take(delta("first"))
    gathering.take(delta("a"))
    clock.pass_by(0.9)
    gathering.take(delta("b"))
    assert delivered == [START, delta("first")]
    clock.pass_by(0.1)
    assert delivered == [START, delta("first"), delta("a") + delta("b")]


@pytest.mark.parametrize("other", [STOP, b"", b"0\r\n\r\n", delta("b")[:20], delta("b")[:-30] + STOP])
def test_what_is_no_delta_is_delivered_at_once_after_what_is_held(
    gathering: Gathering, delivered: list[bytes], other: bytes
) -> None:
    gathering.take(delta("first"))
    gathering.take(delta("a"))
    gathering.take(other)
    assert delivered == [delta("first"), delta("a") + other]


def test_a_delta_after_silence_is_delivered_at_once(gathering: Gathering, clock: Clock, delivered: list[bytes]) -> None:
    gathering.take(delta("first"))
    clock.pass_by(2.1)
    gathering.take(delta("a"))
    assert delivered == [delta("first"), delta("a")]


def test_little_is_held(gathering: Gathering, delivered: list[bytes]) -> None:
    gathering.take(delta("first"))
    gathering.take(delta("a" * 5000))
    assert len(delivered) == 1
    gathering.take(delta("a" * 5000))
    assert len(delivered) == 2


def test_the_end_delivers_what_is_held_and_only_once(
    gathering: Gathering, clock: Clock, delivered: list[bytes]
) -> None:
    gathering.take(delta("first"))
    gathering.take(delta("a"))
    gathering.flush()
    clock.pass_by(1.0)
    assert delivered == [delta("first"), delta("a")]


@properties
@given(st.sampled_from(RECORDED), st.lists(st.tuples(st.integers(0, 1 << 20), st.floats(0, 3)), max_size=60))
def test_a_gathered_stream_is_the_same_bytes_however_they_come(path: Path, cuts: list[tuple[int, float]]) -> None:
    stream = path.read_bytes()
    pauses = {cut % (len(stream) + 1): pause for cut, pause in cuts}
    clock, delivered = Clock(), list[bytes]()
    gathering = Gathering(clock, 1.0, delivered.append)
    for start, end in pairwise(sorted({0, len(stream), *pauses})):
        gathering.take(stream[start:end])
        clock.pass_by(pauses.get(end, 0.0))
        # Nothing is lost or out of order, and nothing that came a whole window ago is held.
        assert stream.startswith(b"".join(delivered))
    clock.pass_by(1.0)
    assert b"".join(delivered) == stream


async def test_windows_that_begin_at_nearly_the_same_time_end_together() -> None:
    windows, loop = Windows(), asyncio.get_running_loop()
    ends: list[asyncio.Future[float]] = [loop.create_future() for _ in range(3)]
    began = loop.time()
    for end in ends:
        windows.at_end(0.04, lambda end=end: end.set_result(loop.time()))  # type: ignore[misc] # mypy cannot tell
    times = await asyncio.gather(*ends)
    assert len(windows._ends) == 0
    assert min(times) - began >= 0.035  # timers are counted in milliseconds


async def test_one_callback_that_fails_keeps_no_other_from_its_turn() -> None:
    windows, loop = Windows(), asyncio.get_running_loop()
    failures: list[object] = []
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    ended = loop.create_future()

    def fail() -> None:
        raise ValueError("test")

    windows.at_end(0.01, fail)
    windows.at_end(0.01, lambda: ended.set_result(None))
    await ended
    assert [type(failure) for failure in failures] == [ValueError]
