"""A cable between a caller and a gateway, to be cut as networks do: without a word, in the middle of anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_PIECE = 64 * 1024


class Cable:
    """Passes bytes both ways over real sockets.

    Args:
        far_end: ``HOST:PORT`` that connections lead to.
        bytes_to_caller: Each connection is cut when it has brought so many to the caller; None lets it be.

    Attributes:
        connections: How many there were.
        target: Its near end, for a caller to connect to.
    """

    def __init__(self, far_end: str, bytes_to_caller: int | None = None) -> None:
        self.connections = 0
        self.target = ""
        self._host, _, self._port = far_end.rpartition(":")
        self._bytes_to_caller = bytes_to_caller
        self._ends: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of the caller's."""
        self.connections += 1
        self._tasks.append(asyncio.ensure_future(self._join(reader, writer)))

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, int(self._port))
        ends = [writer, far_writer]
        self._ends += ends
        upward = asyncio.ensure_future(_pass_on(reader, far_writer, None))
        downward = asyncio.ensure_future(_pass_on(far_reader, writer, self._bytes_to_caller))
        _, running = await asyncio.wait([upward, downward], return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.transport.abort()
        await asyncio.wait(running)

    def cut(self) -> None:
        """Cut all connections."""
        for end in self._ends:
            end.transport.abort()

    async def aclose(self) -> None:
        """Cut all connections, and wait until they are gone."""
        self.cut()
        await asyncio.gather(*self._tasks, *(end.wait_closed() for end in self._ends), return_exceptions=True)


@asynccontextmanager
async def open_cable(far_end: str, bytes_to_caller: int | None = None) -> AsyncIterator[Cable]:
    """A cable to ``far_end``, cut at the end of the context."""
    cable = Cable(far_end, bytes_to_caller)
    server = await asyncio.start_server(cable.connect, "127.0.0.1", 0)
    cable.target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield cable
    finally:
        server.close()
        await cable.aclose()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None) -> None:
    passed = 0
    try:
        while (data := await reader.read(_PIECE)) and (most is None or passed < most):
            passed += len(data)
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # the other end is gone, which is what this is for
