"""How much of a response a connection brings at a time.

An event loop reads up to 256 KiB at a time, and only afterwards can it be told to pause: with a thousand slow readers
of events that would be as many quarters of a mebibyte, several times over on their way through. So connections are read
in small pieces, but for responses of which there are few, and much.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader

from claude_grpc.upstream.windows import Gathering, Windows

__all__ = ["LARGE_BYTES", "SmallReadsConnector", "gather", "read_much"]

LARGE_BYTES: Final = 64 * 1024
_SMALL_BYTES: Final = 4 * 1024


class SmallReadsConnector(aiohttp.TCPConnector):
    """aiohttp's connector, with connections that bring at most 4 KiB at a time if they are not told otherwise."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(_Handler, self._loop)  # type: ignore[assignment] # it is a ResponseHandler

    async def _wrap_create_connection(self, *args: Any, **kwargs: Any) -> tuple[asyncio.Transport, ResponseHandler]:
        make_handler, *rest = args
        handler = make_handler()
        transport, _ = await super()._wrap_create_connection(lambda: _Reads(handler), *rest, **kwargs)
        return transport, handler


def gather(content: StreamReader, transport: asyncio.Transport, windows: Windows, seconds: float) -> None:
    """From now on, gather what comes of a response, until that has come whole."""
    reads = transport.get_protocol()
    if isinstance(reads, _Reads):  # which is not there within a proxy's TLS
        reads.gather(windows, seconds)
        content.on_eof(reads.reset)


def read_much(content: StreamReader, transport: asyncio.Transport) -> None:
    """From now on, bring up to 64 KiB of a response at a time, until that has come whole."""
    reads = transport.get_protocol()
    if isinstance(reads, _Reads):
        reads.read_much()
        content.on_eof(reads.reset)


class _Handler(ResponseHandler):
    """aiohttp's handler, with one timer for all reads of a response, instead of a new one for each."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._heard_at = 0.0

    def _reschedule_timeout(self) -> None:
        self._heard_at = self._loop.time()
        if self._read_timeout and self._read_timeout_handle is None:
            self._read_timeout_handle = self._loop.call_later(self._read_timeout, self._look)

    def _look(self) -> None:
        self._read_timeout_handle = None
        if not self._read_timeout:
            return
        left = self._heard_at + self._read_timeout - self._loop.time()
        if left > 0:
            self._read_timeout_handle = self._loop.call_later(left, self._look)
        else:
            self._on_read_timeout()


class _Reads(asyncio.BufferedProtocol):
    """Gives the loop a buffer to read into, a small one by default, and hands on what comes: by default at once.

    All connections share the buffer: what is in it is copied before the loop does anything else.
    """

    _large = memoryview(bytearray(LARGE_BYTES))
    _small = _large[:_SMALL_BYTES]

    def __init__(self, handler: ResponseHandler) -> None:
        self._handler = handler
        self._buffer = self._small
        self._gathering: Gathering | None = None

    def gather(self, windows: Windows, seconds: float) -> None:
        """From now on, gather what comes."""
        self._gathering = Gathering(windows, seconds, self._handler.data_received)

    def read_much(self) -> None:
        """From now on, take what the large buffer holds."""
        self._buffer = self._large

    def reset(self) -> None:
        """From now on, do as a new connection does."""
        self._buffer = self._small
        self._gathering = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._handler.connection_made(transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 # the loop's wish, which is the point
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._buffer[:nbytes])
        if self._gathering is None:
            self._handler.data_received(data)
        else:
            # Of what is held, the handler has not heard.
            self._handler.start_timeout()
            self._gathering.take(data)

    def eof_received(self) -> None:
        self._flush()
        self._handler.eof_received()

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._flush()
        self._handler.connection_lost(exc)

    def _flush(self) -> None:
        if self._gathering is not None:
            self._gathering.flush()
