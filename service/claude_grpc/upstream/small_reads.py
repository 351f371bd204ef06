"""Connections that are read in small pieces, so that those whose reader is slow hold little.

An event loop reads up to 256 KiB at a time, and only afterwards can it be told to pause: with a thousand slow readers
that would be as many quarters of a mebibyte, several times over on their way through.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

__all__ = ["SmallReadsConnector"]

_READ_BYTES: Final = 8 * 1024


class SmallReadsConnector(aiohttp.TCPConnector):
    """aiohttp's connector, with connections that bring at most 8 KiB at a time."""

    async def _wrap_create_connection(self, *args: Any, **kwargs: Any) -> tuple[asyncio.Transport, ResponseHandler]:
        make_handler, *rest = args
        handler = make_handler()
        transport, _ = await super()._wrap_create_connection(lambda: _SmallReads(handler), *rest, **kwargs)
        return transport, handler


class _SmallReads(asyncio.BufferedProtocol):
    """Gives the loop a small buffer to read into, and hands on what comes.

    All connections share it: what is in it is copied before the loop does anything else.
    """

    _buffer = memoryview(bytearray(_READ_BYTES))

    def __init__(self, handler: ResponseHandler) -> None:
        self._handler = handler

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._handler.connection_made(transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 # the loop's wish, which is the point
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._handler.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> None:
        self._handler.eof_received()

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._handler.connection_lost(exc)
