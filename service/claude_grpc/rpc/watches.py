"""Who watches a batch: all that watch the same one share one poll, which ends with the batch or the last of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Hashable
from typing import Final

from claude_grpc.errors import (
    DeadlineExceededError,
    DrainingError,
    StreamInterruptedError,
    UpstreamConnectionError,
    UpstreamContext,
    UpstreamError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from claude_grpc.telemetry.calls import CallTelemetry
from claude_grpc.v1.batches_pb2 import MESSAGE_BATCH_STATE_ENDED, MessageBatch

__all__ = ["Poll", "State", "Watches"]

State = tuple[MessageBatch, UpstreamContext]
"""How a batch stood, and the exchange that told it."""

Poll = Callable[[Collection[CallTelemetry]], Awaitable[State]]
"""Asks upstream once how the batch stands, for all these watchers."""

_SHORTEST: Final = 1.0
_LONGEST: Final = 30.0
_GROWTH: Final = 1.5
_MOST_ASKED: Final = 300.0
_MOST_FAILURES: Final = 5
_PASSING: Final = frozenset({408, 409, 429})
_FIRST_SERVER_ERROR: Final = 500
_BROKEN_OFF: Final = (UpstreamConnectionError, UpstreamTimeoutError, StreamInterruptedError, DeadlineExceededError)
# Where this gateway is being stopped another serves already, but not all should come to it at the same moment.
_RETRY_AFTER: Final = 0.1


class Watches:
    """All batches that are being watched.

    Args:
        sleep: Waits between two polls.
    """

    def __init__(self, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._watched: dict[Hashable, _Watched] = {}
        self._draining = False

    def drain(self) -> None:
        """End all that watch, now and from now on: a batch takes up to a day, and can be watched anywhere."""
        self._draining = True
        for watched in self._watched.values():
            watched.drain()

    async def watch(self, key: Hashable, poll: Poll, watcher: CallTelemetry) -> AsyncGenerator[State, None]:
        """How the batch stands, and again whenever it has changed, until it has ended.

        Args:
            key: The same for all whose poll would be the same.
            poll: Used if nobody watches the batch yet.
            watcher: What is told of the call that watches.

        Raises:
            UpstreamError: The first poll failed, or a later one in a way that does not pass.
            DrainingError: The gateway is being stopped.
        """
        if self._draining:
            raise _draining(partial=False)
        watched = self._watched.get(key)
        if watched is None or watched.over:
            watched = self._watched[key] = _Watched(poll, self._sleep)
        watched.watchers.add(watcher)
        try:
            seen = None
            while (state := await watched.after(seen)) is not None:
                seen = state
                yield state
        finally:
            watched.watchers.discard(watcher)
            if not watched.watchers:
                watched.stop()
                if self._watched.get(key) is watched:
                    del self._watched[key]


class _Watched:
    """One batch: how it stands, and the task that asks.

    Attributes:
        watchers: Those who watch.
        over: Whether nothing will change any more.
    """

    def __init__(self, poll: Poll, sleep: Callable[[float], Awaitable[None]]) -> None:
        self.watchers: set[CallTelemetry] = set()
        self.over = False
        self._drained = False
        self._poll = poll
        self._sleep = sleep
        self._state: State | None = None
        self._failure: Exception | None = None
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Ask no more."""
        self._task.cancel()

    def drain(self) -> None:
        """Ask no more, and tell that to all who watch, unless the end is known."""
        if not self.over:
            self.stop()
            self._drained = True
            self._wake()

    async def after(self, seen: State | None) -> State | None:
        """The state once it is another than ``seen``; None if there will be no other."""
        while self._state is seen:
            if self._failure is not None:
                raise self._failure
            if self.over:
                return None
            if self._drained:
                raise _draining(partial=seen is not None)
            await self._changed.wait()
        return self._state

    async def _run(self) -> None:
        try:
            await self._follow()
        except Exception as error:  # noqa: BLE001 # whoever watches raises it
            self._failure = error
        self.over = True
        self._wake()

    async def _follow(self) -> None:
        pause, failures = _SHORTEST, 0
        while True:
            try:
                state = await self._poll(tuple(self.watchers))
            except UpstreamError as error:
                failures += 1
                if self._state is None or failures == _MOST_FAILURES or not _passes(error):
                    raise
                context = error.context
            else:
                failures = 0
                batch, context = state
                if self._state is None or batch != self._state[0]:
                    pause = _SHORTEST
                    self._state = state
                    self._wake()
                if batch.state == MESSAGE_BATCH_STATE_ENDED:
                    return
            await self._sleep(max(pause, _asked_pause(context)))
            pause = min(pause * _GROWTH, _LONGEST)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _draining(*, partial: bool) -> DrainingError:
    return DrainingError(
        "The gateway is being stopped; watch the batch through another.", retry_after=_RETRY_AFTER, partial=partial
    )


def _passes(error: UpstreamError) -> bool:
    """Whether the next poll may well succeed."""
    if isinstance(error, UpstreamStatusError):
        return error.http_status in _PASSING or error.http_status >= _FIRST_SERVER_ERROR
    return isinstance(error, _BROKEN_OFF)


def _asked_pause(context: UpstreamContext) -> float:
    try:
        asked = float(context.headers.get("retry-after", "0"))
    except ValueError:
        return 0.0
    return asked if 0 < asked <= _MOST_ASKED else 0.0
