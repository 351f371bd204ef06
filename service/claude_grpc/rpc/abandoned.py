"""Calls that may outlive their caller: they run in a task of their own, and go on when nobody waits for them any more.

For callers who bill by usage: an answer that is not read to its end has no record of what it cost. Only calls that ask
for it come here; all others end with their caller. How many go on, and for how long, is limited.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any

from claude_grpc.rpc.call import Call
from claude_grpc.v1.messages_pb2 import AssistantMessage, StreamMessageResponse, Usage

__all__ = ["AbandonedCalls"]

_log = logging.getLogger(__name__)


class AbandonedCalls:
    """Runs calls that may outlive their caller.

    Args:
        most: How many may go on without; 0 ends them all with their caller.
        seconds: For how long.
    """

    def __init__(self, *, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def answer(self, call: Call, answering: Coroutine[Any, Any, AssistantMessage]) -> AssistantMessage:
        """The answer, unless the caller leaves before it is there."""
        task = asyncio.create_task(answering)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            record = _Record(call)
            task.add_done_callback(record.write_answer)
            await self._let_go_on(task)
            raise

    async def stream(
        self, call: Call, answering: AsyncGenerator[StreamMessageResponse, None]
    ) -> AsyncGenerator[StreamMessageResponse, None]:
        """The events, unless the caller leaves before they end."""
        pump = _Pump(call)
        task = asyncio.create_task(pump.run(answering))
        try:
            while (event := await pump.next()) is not None:
                yield event
        finally:
            if not pump.delivered:
                pump.abandon()
                await self._let_go_on(task)

    async def idle(self) -> None:
        """Wait until no call goes on without its caller."""
        await self._idle.wait()

    async def end(self) -> None:
        """End those that go on, and let no more."""
        self._most = 0
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _let_go_on(self, task: asyncio.Task[Any]) -> None:
        if task.done():
            return
        if len(self._tasks) >= self._most:
            task.cancel()
            await asyncio.wait([task])
            return
        timer = asyncio.get_running_loop().call_later(self._seconds, task.cancel)
        self._tasks.add(task)
        self._idle.clear()

        def ended(_: asyncio.Task[Any]) -> None:
            timer.cancel()
            self._tasks.discard(task)
            if not self._tasks:
                self._idle.set()

        task.add_done_callback(ended)


class _Pump:
    """Reads a stream in a task of its own, one event ahead of its reader, if there is one."""

    def __init__(self, call: Call) -> None:
        self.delivered = False
        self._record = _Record(call)
        self._abandoned = False
        self._next: asyncio.Queue[StreamMessageResponse | Exception | None] = asyncio.Queue(1)

    async def run(self, answering: AsyncGenerator[StreamMessageResponse, None]) -> None:
        """Read to the end, whoever is there to see it."""
        end: Exception | None = None
        try:
            async with aclosing(answering):
                async for event in answering:
                    self._record.add(event)
                    await self._hand_over(event)
        except asyncio.CancelledError:
            self._record.write("CANCELLED")
            raise
        except Exception as error:  # noqa: BLE001 # it is the reader's
            end = error
        await self._hand_over(end)
        if self._abandoned:
            self._record.write("OK" if end is None else type(end).__name__)

    async def next(self) -> StreamMessageResponse | None:
        """The next event, None after the last; raises what ends them."""
        event = await self._next.get()
        self.delivered = not isinstance(event, StreamMessageResponse)
        if isinstance(event, Exception):
            raise event
        return event

    def abandon(self) -> None:
        """The reader is gone."""
        self._abandoned = True
        if self._next.full():
            self._next.get_nowait()

    async def _hand_over(self, event: StreamMessageResponse | Exception | None) -> None:
        if not self._abandoned:
            await self._next.put(event)


class _Record:
    """What a call has cost, for the log."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._model = ""
        self._usage: dict[str, int] = {}

    def add(self, event: StreamMessageResponse) -> None:
        match event.WhichOneof("event"):
            case "message_start":
                self._add(event.message_start.message.usage, event.message_start.message.model)
            case "message_delta":
                self._add(event.message_delta.usage)
            case _:
                pass

    def write_answer(self, task: asyncio.Task[AssistantMessage]) -> None:
        if task.cancelled():
            self.write("CANCELLED")
        elif error := task.exception():
            self.write(type(error).__name__)
        else:
            self._add(task.result().usage, task.result().model)
            self.write("OK")

    def write(self, end: str) -> None:
        _log.info(
            "Ended without its caller: %s %s",
            self._call.method,
            end,
            extra={
                "method": self._call.method,
                "end": end,
                "request_id": self._call.upstream.request_id,
                "model": self._model,
                "usage": self._usage,
            },
        )

    def _add(self, usage: Usage, model: str = "") -> None:
        self._model = model or self._model
        # Counts are totals: the last one holds.
        self._usage.update({field.name: value for field, value in usage.ListFields() if isinstance(value, int)})
