"""A scripted upstream on a real socket.

The script is a coroutine that is given each connection as a ``Peer`` and does to it what the test wants: any bytes, a
cut, a reset, silence. Nothing here knows HTTP further than to find a request's end.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast


@dataclass(frozen=True)
class ReceivedRequest:
    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)


class Peer(asyncio.Protocol):
    """One accepted connection; ``closed`` is done, with the loop's time, when it is."""

    def __init__(self, script: Callable[[Peer], Awaitable[None]], accepted: Callable[[Peer], None]) -> None:
        self._script = script
        self._accepted = accepted
        self._buffer = bytearray()
        self._arrival = asyncio.Event()
        self.received = 0
        self.closed: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.task = asyncio.ensure_future(self._script(self))
        self._accepted(self)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._buffer += data
        self._arrival.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(asyncio.get_running_loop().time())

    async def take(self) -> bytes:
        """Return what has come, as soon as anything has."""
        if not self._buffer:
            await self._more()
        return await self._exactly(len(self._buffer))

    async def request(self) -> ReceivedRequest:
        """Read one request, with its body."""
        head = (await self._until(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head[:-4].split("\r\n")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        fields = dict(headers)
        if fields.get("transfer-encoding") == "chunked":
            return ReceivedRequest(line, headers, await self._chunked_body())
        return ReceivedRequest(line, headers, await self._exactly(int(fields.get("content-length", "0"))))

    def send(self, *pieces: bytes) -> None:
        self.transport.write(b"".join(pieces))

    def respond(self, status: int, body: bytes = b"{}", headers: Mapping[str, str] | None = None) -> None:
        """Send one whole response, as JSON unless ``headers`` says otherwise."""
        fields = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        self.send(self._head(status, fields), body)

    def start_events(self, headers: Mapping[str, str] | None = None) -> None:
        """Send the head of a chunked event stream."""
        fields = {"content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked", **(headers or {})}
        self.send(self._head(200, fields))

    def send_chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n" % len(data), data, b"\r\n")

    def end_chunks(self) -> None:
        self.send(b"0\r\n\r\n")

    def close(self) -> None:
        self.transport.close()

    def reset(self) -> None:
        """Close with an RST."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def stall(self) -> None:
        """Do nothing until the other side closes."""
        await asyncio.shield(self.closed)

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            await self._more()
        return await self._exactly(self._buffer.index(mark) + len(mark))

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def _chunked_body(self) -> bytes:
        body = b""
        while size := int(await self._until(b"\r\n"), 16):
            body += (await self._exactly(size + 2))[:-2]
        await self._until(b"\r\n")
        return body

    async def _more(self) -> None:
        self._arrival.clear()
        await self._arrival.wait()

    @staticmethod
    def _head(status: int, headers: Mapping[str, str]) -> bytes:
        lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class RawUpstream:
    """A listening socket whose every connection runs the script."""

    def __init__(self, server: asyncio.Server, accepted: asyncio.Queue[Peer], scheme: str) -> None:
        self._accepted = accepted
        self.port = server.sockets[0].getsockname()[1]
        self.netloc = f"127.0.0.1:{self.port}"
        self.url = f"{scheme}://{self.netloc}"

    async def peer(self) -> Peer:
        """Wait for the next connection."""
        async with asyncio.timeout(10):
            return await self._accepted.get()

    def unseen(self) -> int:
        """Count the connections that nobody has waited for."""
        return self._accepted.qsize()


Serve = Callable[..., Awaitable[RawUpstream]]


@asynccontextmanager
async def raw_upstreams() -> AsyncIterator[Serve]:
    """What starts scripted upstreams; an exception in a script fails the test."""
    servers: list[asyncio.Server] = []
    peers: list[Peer] = []

    async def start(script: Callable[[Peer], Awaitable[None]], tls: ssl.SSLContext | None = None) -> RawUpstream:
        queue: asyncio.Queue[Peer] = asyncio.Queue()

        def accepted(peer: Peer) -> None:
            peers.append(peer)
            queue.put_nowait(peer)

        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Peer(script, accepted), "127.0.0.1", 0, ssl=tls)
        servers.append(server)
        return RawUpstream(server, queue, "https" if tls else "http")

    yield start
    for server in servers:
        server.close()
    for peer in peers:
        peer.task.cancel()
        peer.transport.abort()
    outcomes = await asyncio.gather(*(peer.task for peer in peers), return_exceptions=True)
    await asyncio.gather(*(peer.closed for peer in peers))
    failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert not failures
