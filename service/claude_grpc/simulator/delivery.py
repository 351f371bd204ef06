"""Writes answers to the socket, at their pace, and breaks them off in the ways that ``faults`` names."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, NoReturn

from aiohttp import web

from .errors import ApiError, error_status
from .exchanges import Exchange
from .faults import Directive, Directives, RawAnswer
from .raw_json import encode

__all__ = ["ENDINGS", "JSON", "Delivery", "until_gone", "until_reset"]

JSON = "application/json"

# The ways to end an answer too early that are the connection's, not the stream's.
ENDINGS = ("cut", "truncate", "reset", "stall")
_DELTA = b"event: content_block_delta"
_LOOK_EVERY = 0.01


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

    async def send_json(
        self, value: dict[str, Any], directives: Directives, extra: Mapping[str, str] = MappingProxyType({})
    ) -> web.StreamResponse:
        """Send an object, or what a directive makes of it."""
        if failure := directives.get("error-event"):
            kind = failure.word("overloaded_error")
            raise ApiError(error_status(kind), "Overloaded", type=kind)
        body = encode(value).encode()
        half = body[: len(body) // 2]
        if any(name in directives for name in ENDINGS):
            return await self.send_chunks([half], JSON, directives)
        return await self.send_body(half if "bad-json" in directives else body, JSON, extra=extra)

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
        ending = _ending(directives)
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

    async def send_content(
        self, chunks: Iterable[bytes], size: int, content_type: str, directives: Directives
    ) -> web.StreamResponse:
        """Send bytes, of which an ending counts each; without their length where they are cut."""
        ending = _ending(directives)
        length = {} if ending and ending.name == "cut" else {"content-length": str(size)}
        response = await self._begin(content_type, 200, length)
        await self._write(response, _first_bytes(chunks, ending.at) if ending else chunks, 0)
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
            self.exchange.sent += len(chunk)
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


def _ending(directives: Directives) -> Directive | None:
    return next((directives[name] for name in ENDINGS if name in directives), None)


def _first_bytes(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    for chunk in chunks:
        if size <= 0:
            return
        yield chunk[:size]
        size -= len(chunk)


async def until_gone() -> NoReturn:
    """Wait for the end of the connection, which cancels the handler."""
    await asyncio.Event().wait()
    raise AssertionError("nothing sets this event")


async def until_reset(request: web.Request) -> NoReturn:
    """Wait for the reset of a connection that is not read from, of which its transport is told nothing."""
    transport = request.transport
    if transport and not transport.is_closing():
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLERR | select.POLLHUP)
        while not transport.is_closing() and not poll.poll(0):  # noqa: ASYNC110  (nothing sets an event)
            await asyncio.sleep(_LOOK_EVERY)
        transport.abort()
    await until_gone()


def _linger_none(transport: asyncio.Transport) -> None:
    """Make the close of a socket a reset. Through its descriptor, because not every event loop gives out the socket."""
    copy = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    with copy:
        copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
