"""Reads a large request body piece by piece: counted, not beyond its limit, and as slowly as a directive asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from .delivery import until_reset
from .errors import ApiError
from .exchanges import Exchange
from .faults import Directives

__all__ = ["RequestBody"]


class RequestBody:
    """The body of one request, to be read once."""

    def __init__(self, request: web.Request, exchange: Exchange, directives: Directives, kept: int) -> None:
        self._request = request
        self._exchange = exchange
        self._slow = directives.get("slow-body")
        self._kept: bytearray | None = bytearray()
        self._most_kept = kept

    async def chunks(self, most: int) -> AsyncIterator[bytes]:
        """Yield the body as it comes.

        Raises:
            ApiError: 413, there is more than ``most``, or will be by its Content-Length.
        """
        if (self._request.content_length or 0) > most:
            raise ApiError(413, "Request exceeds the maximum size")
        async for chunk in self._request.content.iter_any():
            self._exchange.received += len(chunk)
            if self._exchange.received > most:
                raise ApiError(413, "Request exceeds the maximum size")
            self._keep(chunk)
            yield chunk
            await self._pause()
        self._exchange.body = bytes(self._kept or b"")

    async def drain(self) -> None:
        """Read the body to its end, for its bytes to stand in the log and nothing else."""
        async for chunk in self._request.content.iter_any():
            self._exchange.received += len(chunk)
            self._keep(chunk)
            await self._pause()
        self._exchange.body = bytes(self._kept or b"")

    def _keep(self, chunk: bytes) -> None:
        if self._kept is not None:
            self._kept += chunk
            if len(self._kept) > self._most_kept:
                self._kept = None

    async def _pause(self) -> None:
        if self._slow and self._exchange.received >= self._slow.at:
            slow, self._slow = self._slow, None
            await (asyncio.sleep(slow.amount) if slow.word() else until_reset(self._request))
