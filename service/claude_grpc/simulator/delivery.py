"""Writes answers to the socket, at their pace, and breaks them off in the ways that ``faults`` names."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Iterable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import NoReturn

from aiohttp import web

from .exchanges import Exchange
from .faults import Directives, RawAnswer

__all__ = ["ENDINGS", "Delivery", "until_gone"]

# The ways to end an answer too early that are the connection's, not the stream's.
ENDINGS = ("cut", "truncate", "reset", "stall")
_DELTA = b"event: content_block_delta"


class Delivery:
    """The way back of one exchange."""

    def __init__(self, request: web.Request, exchange: Exchange, headers: Mapping[str, str]) -> None:
        self._request = request
        self.exchange = exchange
        self._headers = headers

    async def send_body(
        self, body: bytes, content_type: str, status: int = 200, extra: Mapping[str, str] = MappingProxyType({})
    ) -> web.StreamResponse:
        """Send a whole answer with its length."""
        headers = {**self._headers, **extra, "content-type": content_type}
        response = web.Response(body=body, status=status, headers=headers)
        self.exchange.status = status
        await response.prepare(self._request)
        await response.write_eof()
        return response

    async def send_raw(self, answer: RawAnswer, interval: float) -> web.StreamResponse:
        """Send an answer that a test has made."""
        response = await self._begin(answer.content_type, answer.status, answer.headers)
        await self._write(response, answer.chunks, interval)
        await response.write_eof()
        return response

    async def send_chunks(
        self, chunks: Iterable[bytes], content_type: str, directives: Directives, interval: float = 0
    ) -> web.StreamResponse:
        """Send an answer piece by piece, to its end or to the one that a directive asks for."""
        ending = next((directives[name] for name in ENDINGS if name in directives), None)
        rest = iter(chunks)
        kept = islice(rest, ending.at if ending else None)
        response = await self._begin(content_type, 200, {"cache-control": "no-cache"})
        await self._write(response, kept, interval)
        if ending and ending.name == "truncate":
            chunk = next(rest, b"")
            await response.write(chunk[: len(chunk) // 2])
        if ending and ending.name != "cut":
            await self._break_off(ending.name)
        await response.write_eof()
        return response

    async def _begin(self, content_type: str, status: int, extra: Mapping[str, str]) -> web.StreamResponse:
        headers = {**self._headers, **extra, "content-type": content_type}
        response = web.StreamResponse(status=status, headers=headers)
        self.exchange.status = status
        await response.prepare(self._request)
        return response

    async def _write(self, response: web.StreamResponse, chunks: Iterable[bytes], interval: float) -> None:
        for chunk in chunks:
            await response.write(chunk)
            self.exchange.events_sent += 1
            # Also without an interval: a long answer must not keep the loop from seeing that the client is gone.
            await asyncio.sleep(interval if chunk.startswith(_DELTA) else 0)

    async def _break_off(self, ending: str) -> NoReturn:
        transport = self._request.transport
        if transport and ending in ("reset", "truncate"):
            self.exchange.close(early=False)
            if ending == "reset":
                _linger_none(transport)
                transport.abort()
            else:
                transport.close()
        await until_gone()


async def until_gone() -> NoReturn:
    """Wait for the end of the connection, which cancels the handler."""
    await asyncio.Event().wait()
    raise AssertionError("nothing sets this event")


def _linger_none(transport: asyncio.Transport) -> None:
    """Make the close of a socket a reset. Through its descriptor, because not every event loop gives out the socket."""
    copy = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    with copy:
        copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
