"""The way of a stream's messages to its caller: one after the other, never faster than they are read.

Nothing is queued here: who has a message waits until gRPC has taken the one before, so a slow caller slows upstream.
Two things happen on the way. A stream that has been silent for long gets a message that says it lives, because load
balancers count bytes, not HTTP/2 pings. And what came together may leave together: see `joined`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Self, TypeAlias

from google.protobuf.message import Message

from claude_grpc.rpc.call import Call
from claude_grpc.v1.messages_pb2 import StreamMessageResponse

__all__ = ["Relay", "joined"]

# The deltas that are appended to what came before, each with the name of its text.
_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}

_Place: TypeAlias = tuple[int, str]
"""A block's index and the kind of delta."""


class Relay:
    """Writes a call's messages, and its keepalive when there are none.

    Args:
        call: Whose ``keepalive`` is sent, from when it is set.
        write: Sends one message; returns when the next one may be sent.
        silence: Seconds without a message after which the keepalive is sent.
    """

    def __init__(self, call: Call, write: Callable[[Any], Awaitable[None]], silence: float) -> None:
        self._call = call
        self._write = write
        self._silence = silence
        self._loop = asyncio.get_running_loop()
        self._written_at = self._loop.time()
        self._writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._keepalive: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._keepalive is not None:
            self._keepalive.cancel()
            # The stream's own end tells what there is to tell.
            await asyncio.wait([self._keepalive])

    async def write(self, message: Message) -> None:
        """Send a message, and wait until the next one may be sent."""
        if self._keepalive is not None:
            await self._keepalive
            self._keepalive = None
        self._writing = True
        await self._write(message)
        self._writing = False
        self._written_at = self._loop.time()
        self._call.partial = True
        if self._timer is None and self._call.keepalive is not None:
            self._arm(self._silence)

    def _arm(self, seconds: float) -> None:
        # One timer a stream, not one a message: it looks at the time of the last one when it goes off.
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        left = self._written_at + self._silence - self._loop.time()
        sending = self._keepalive is not None and not self._keepalive.done()
        if left <= 0 and not self._writing and not sending:
            self._keepalive = self._loop.create_task(self._send_keepalive())
        self._arm(left if left > 0 else self._silence)

    async def _send_keepalive(self) -> None:
        await self._write(self._call.keepalive)
        self._written_at = self._loop.time()


def joined(messages: Iterable[StreamMessageResponse]) -> Iterator[StreamMessageResponse]:
    """The same stream in fewer messages: deltas that follow one another in one block, of one kind, become one.

    If ``messages`` raises, what came before comes out first. Holds no message while the one it made is written.
    """
    run = _Run()
    try:
        for message in messages:
            if not run.takes(message):
                yield run.end()
                run.takes(message)
    except Exception:
        if run.begun:
            yield run.end()
        raise
    if run.begun:
        yield run.end()


class _Run:
    """Deltas that become one: the first of them, and the texts of all."""

    def __init__(self) -> None:
        self._first: StreamMessageResponse | None = None
        self._place: _Place | None = None
        # Empty until there are two: most come alone.
        self._texts: list[str] = []

    @property
    def begun(self) -> bool:
        return self._first is not None

    def takes(self, message: StreamMessageResponse) -> bool:
        """Whether the message was added; it is not if it is no continuation."""
        if self._first is None:
            self._first = message
            return True
        if not self._texts:
            self._place, text = _part(self._first)
            self._texts.append(text)
        place, text = _part(message)
        if place is None or place != self._place:
            return False
        self._texts.append(text)
        return True

    def end(self) -> StreamMessageResponse:
        """The one message; the next run may begin."""
        assert self._first is not None  # noqa: S101 # whoever ends a run has begun it
        message, texts = self._first, self._texts
        self._first, self._texts = None, []
        if len(texts) > 1:
            assert self._place is not None  # noqa: S101 # or there were no two
            kind = self._place[1]
            setattr(getattr(message.content_block_delta.delta, kind), _TEXTS[kind], "".join(texts))
        return message


def _part(message: StreamMessageResponse) -> tuple[_Place | None, str]:
    """Where a delta belongs, and its text; nowhere if it cannot be joined to others."""
    block = message.content_block_delta
    kind = block.delta.WhichOneof("delta")
    if kind not in _TEXTS:
        return None, ""
    delta = getattr(block.delta, kind)
    # What stands beside a text could not be told from what stood beside the other's.
    if block.extra_json or delta.extra_json:
        return None, ""
    return (block.index, kind), getattr(delta, _TEXTS[kind])
