"""The time limit of a stream ends a read that waits, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from claude_grpc.upstream.limit import TimeLimit


@contextmanager
def limited(limit: TimeLimit, seconds: float | None) -> Iterator[None]:
    limit.start(seconds)
    try:
        yield
    finally:
        limit.stop()


async def one_piece() -> AsyncIterator[bytes]:
    yield b"1"


async def silence() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


@pytest.mark.parametrize("seconds", [None, 60.0])
async def test_within_the_limit_reads_are_reads(seconds: float | None) -> None:
    limit = TimeLimit()
    pieces = one_piece()
    with limited(limit, seconds):
        assert [await limit.read(pieces), await limit.read(pieces)] == [b"1", None]
        assert not limit.is_over()


async def test_a_read_that_waits_ends_with_the_limit() -> None:
    limit = TimeLimit()
    with limited(limit, 0.01), pytest.raises(TimeoutError):
        await limit.read(silence())
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_after_the_limit_nothing_is_read() -> None:
    limit = TimeLimit()
    with limited(limit, -1.0):
        while not limit.is_over():
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await limit.read(one_piece())


async def test_who_does_not_read_is_left_alone() -> None:
    limit = TimeLimit()
    with limited(limit, 0.0):
        await asyncio.sleep(0.02)
    assert limit.is_over()


async def test_a_limit_that_was_stopped_ends_nothing() -> None:
    limit = TimeLimit()
    with limited(limit, 0.0):
        pass
    await asyncio.sleep(0.02)
    assert not limit.is_over()


async def test_a_cancel_is_a_cancel() -> None:
    async def read() -> None:
        with limited(limit, 60.0):
            await limit.read(silence())

    limit = TimeLimit()
    reading = asyncio.ensure_future(read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()


async def test_a_cancel_at_the_same_time_counts_for_more_than_the_limit() -> None:
    async def read() -> None:
        with limited(limit, 60.0):
            await limit.read(silence())

    limit = TimeLimit()
    reading = asyncio.ensure_future(read())
    await asyncio.sleep(0)
    limit._end()
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
