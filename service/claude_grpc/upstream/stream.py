"""A streamed answer that has begun: events as they arrive, until the body ends or breaks.

Whether the events make a whole answer is not known here: once it has begun, a body that ends cleanly just ends the
iteration.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from claude_grpc.errors import DeadlineExceededError, StreamInterruptedError, UpstreamContext, UpstreamProtocolError
from claude_grpc.upstream.failures import TRANSPORT_FAILURES, api_error, error_within_answer
from claude_grpc.upstream.limit import TimeLimit
from claude_grpc.upstream.sse import ServerSentEvent, SSEDecoder

__all__ = ["EventStream"]

_FINISH_SECONDS: Final = 0.1


class EventStream:
    """Iterates over lists of events: what one read from the network brought, never empty.

    Raises ``StreamInterruptedError`` if the connection breaks, ``UpstreamTimeoutError`` if it is silent too long,
    ``DeadlineExceededError`` if the limit is reached, ``UpstreamProtocolError`` if what comes is no event stream.
    Events before a failure are handed out first.

    Attributes:
        waited: Seconds spent waiting for more, since the first event came.
    """

    def __init__(
        self, pieces: AsyncIterator[bytes], context: UpstreamContext, decoder: SSEDecoder, limit: TimeLimit
    ) -> None:
        self.context = context
        self.waited = 0.0
        self._pieces = pieces
        self._decoder = decoder
        self._limit = limit
        self._ended = False
        self._first: list[ServerSentEvent] = []

    def __aiter__(self) -> AsyncIterator[list[ServerSentEvent]]:
        return self

    async def begin(self) -> None:
        """Read up to the first event, which the iteration then hands out; the answer has begun with it.

        Raises ``UpstreamStatusError`` if it is an error, ``StreamInterruptedError`` if there is none, or as above.
        """
        first = await anext(self, None)
        if first is None:
            raise StreamInterruptedError("Upstream ended the stream before its first event.", self.context)
        if first[0].event == "error":
            raise api_error(200, first[0].data, self.context)
        self._first = first
        self.waited = 0.0

    async def __anext__(self) -> list[ServerSentEvent]:
        if self._first:
            first, self._first = self._first, []
            return first
        try:
            while not self._ended:
                events = await self._read()
                if events:
                    return events
        except TRANSPORT_FAILURES as failure:
            raise error_within_answer(failure, self.context) from failure
        except TimeoutError:
            raise DeadlineExceededError("The call's time was up before the answer was whole.", self.context) from None
        except UpstreamProtocolError as error:
            error.context = self.context
            raise
        raise StopAsyncIteration

    async def finish(self) -> None:
        """Read what may come after the last event, for at most 100 ms, so that the connection can serve again."""
        # The answer is whole: a failure now costs the connection, which is then closed, and nothing else.
        with suppress(TimeoutError, *TRANSPORT_FAILURES):
            async with asyncio.timeout(_FINISH_SECONDS):
                async for _ in self._pieces:
                    pass

    async def _read(self) -> list[ServerSentEvent]:
        if self._decoder.failure is not None:
            raise self._decoder.failure
        began = time.monotonic()
        try:
            piece = await self._limit.read(self._pieces)
        finally:
            self.waited += time.monotonic() - began
        if piece is not None:
            return self._decoder.feed(piece)
        self._ended = True
        return self._decoder.end()
