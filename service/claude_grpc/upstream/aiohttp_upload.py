"""A request's body on its way. Small ones go with the head in one write; of large ones little waits in memory."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterable, Iterator
from typing import Final

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_writer import StreamWriter

from claude_grpc.upstream.http import HttpRequest

__all__ = ["SMALL_BYTES", "Upload", "reset"]

# A larger piece of a body is cut, so that the write timeout is one of progress and little waits in memory.
_PIECE_BYTES: Final = 256 * 1024
# What the kernel takes at once from a connection that has nothing else to send: no write timeout can come of it.
SMALL_BYTES: Final = 64 * 1024
_NO_LINGER: Final = struct.pack("ii", 1, 0)


def reset(transport: asyncio.WriteTransport) -> None:
    """Close a connection at once, with all that waits in it.

    Without the option the kernel would first send what it has, and a peer that reads no more would not hear of the end.
    """
    connected: socket.socket | None = transport.get_extra_info("socket")
    if connected is not None and connected.fileno() >= 0:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


class Upload:
    """Sends a body beside the wait for its response, which may come before the body is whole.

    ``failure`` is what stopped it, if not the connection's end: the write timeout, or an exception of the source.
    """

    def __init__(self, request: HttpRequest, protocol: ResponseHandler) -> None:
        self.failure: Exception | None = None
        self._protocol = protocol
        self._timeout = request.timeouts.get("write")
        loop = asyncio.get_running_loop()
        self._writer = StreamWriter(protocol, loop)
        if "transfer-encoding" in request.headers:
            self._writer.enable_chunking()
        self._task = loop.create_task(self._send(request.body))

    @property
    def is_done(self) -> bool:
        """Whether the whole body has been sent."""
        return self._task.done()

    def abort(self) -> None:
        """Stop, and close the connection without sending what waits in its buffer."""
        self._task.cancel()
        self._abort_connection()

    async def _send(self, body: bytes | AsyncIterable[bytes]) -> None:
        try:
            if isinstance(body, bytes):
                await self._write_all(body)
            else:
                async for chunk in body:
                    await self._write_all(chunk)
            await self._writer.write_eof()
            self._protocol.start_timeout()
        except OSError as error:
            # Whoever waits for the response is told.
            self._protocol.set_exception(aiohttp.ClientOSError(*error.args), error)
            self._abort_connection()
        except Exception as error:  # noqa: BLE001 # it is raised where the response is waited for
            self.failure = error
            self._abort_connection()

    async def _write_all(self, chunk: bytes) -> None:
        for piece in _pieces(chunk):
            await self._write(piece)

    async def _write(self, piece: bytes | memoryview) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._writer.write(piece)
        except TimeoutError as error:
            raise httpx.WriteTimeout("The request was not taken in time.") from error

    def _abort_connection(self) -> None:
        if self._protocol.transport is not None:
            reset(self._protocol.transport)


def _pieces(chunk: bytes) -> Iterator[bytes | memoryview]:
    if len(chunk) <= _PIECE_BYTES:
        yield chunk
        return
    view = memoryview(chunk)
    for start in range(0, len(view), _PIECE_BYTES):
        yield view[start : start + _PIECE_BYTES]
