"""A streamed answer that has begun: events, lines or bytes as they arrive, until the body ends or breaks.

Whether they make a whole answer is not known here: once it has begun, a body that ends cleanly just ends the
iteration.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Final, Generic, Protocol, Self, TypeAlias, TypeVar

from claude_grpc.errors import DeadlineExceededError, StreamInterruptedError, UpstreamContext, UpstreamProtocolError
from claude_grpc.telemetry.observer import AttemptObserver
from claude_grpc.upstream.answer import Answer
from claude_grpc.upstream.attempts import Attempts
from claude_grpc.upstream.failures import TRANSPORT_FAILURES, api_error, error_within_answer
from claude_grpc.upstream.http import HttpResponse
from claude_grpc.upstream.limit import TimeLimit
from claude_grpc.upstream.sse import ServerSentEvent

__all__ = ["ByteStream", "DecodedStream", "EventStream", "LineStream", "Undecoded"]

_FINISH_SECONDS: Final = 0.1

T = TypeVar("T")


class _Decoder(Protocol[T]):
    @property
    def failure(self) -> UpstreamProtocolError | None: ...

    def feed(self, chunk: bytes) -> list[T]: ...

    def end(self) -> list[T]: ...


class Undecoded:
    """The decoder for answers that are just bytes."""

    failure: UpstreamProtocolError | None = None

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return what came."""
        return [chunk]

    def end(self) -> list[bytes]:
        """Return nothing, for nothing is kept."""
        return []


class DecodedStream(Answer, Generic[T]):
    """Iterates over lists of what the decoder makes: what one read from the network brought, never empty.

    Raises ``StreamInterruptedError`` if the connection breaks, ``UpstreamTimeoutError`` if it is silent too long,
    ``DeadlineExceededError`` if the call's time is up, ``UpstreamProtocolError`` if what comes cannot be decoded. What
    came before a failure is handed out first.

    Attributes:
        waited: Seconds spent waiting for more, since the answer began.
        waits: Whether it waits for more, or did when it ended.
    """

    def __init__(
        self,
        decoder: _Decoder[T],
        response: HttpResponse,
        context: UpstreamContext,
        attempts: Attempts,
        observer: AttemptObserver,
    ) -> None:
        super().__init__(response, context, attempts, observer)
        self.waited = 0.0
        self.waits = False
        self._decoder = decoder
        self._limit = TimeLimit()
        self._ended = False

    async def __aenter__(self) -> Self:
        self._limit.start(self._attempts.time_left)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limit.stop()
        await super().__aexit__(kind, error, trace)

    def __aiter__(self) -> AsyncIterator[list[T]]:
        return self

    async def __anext__(self) -> list[T]:
        try:
            while not self._ended:
                if self._decoder.failure is not None:
                    raise self._decoder.failure
                began, self.waits = time.monotonic(), True
                try:
                    piece = await self._limit.read(self.response)
                finally:
                    self.waited += time.monotonic() - began
                self.waits = False
                if read := self._decode(piece):
                    return read
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
                async for _ in self.response:
                    pass

    def _decode(self, piece: bytes | None) -> list[T]:
        if piece is not None:
            return self._decoder.feed(piece)
        self._ended = True
        return self._decoder.end()


class EventStream(DecodedStream[ServerSentEvent]):
    """Events; the first of them begins the answer. One that breaks off in the middle is none."""

    _first: list[ServerSentEvent] | None = None

    async def begin(self) -> None:
        """Read up to the first event, which the iteration then hands out.

        Raises ``UpstreamStatusError`` if it is an error, ``StreamInterruptedError`` if there is none, or as iterating.
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
            first, self._first = self._first, None
            return first
        return await super().__anext__()

    def _decode(self, piece: bytes | None) -> list[ServerSentEvent]:
        if piece is not None:
            return super()._decode(piece)
        try:
            return [event for event in super()._decode(None) if _is_whole(event.data)]
        except UpstreamProtocolError:  # within a character
            return []


def _is_whole(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    except RecursionError:
        pass  # whoever decodes it will say what is wrong
    return True


LineStream: TypeAlias = DecodedStream[bytes]
ByteStream: TypeAlias = DecodedStream[bytes]
