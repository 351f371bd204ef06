"""A TCP proxy that does to connections what networks do: delays, cuts, resets, silence.

Stands before an upstream or before a gateway. A plan says for each connection, by its number, what happens to the
bytes in each direction; so a seeded plan makes a seeded run.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

__all__ = ["CLEAN", "ChaosProxy", "Path", "Weather"]

# Bytes on their way in each direction; who sends more has to wait.
_IN_FLIGHT = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Path:
    """What happens to the bytes in one direction.

    Attributes:
        latency: Seconds that each piece is on its way.
        jitter: Seconds by which that varies; pieces stay in order.
        trickle: Bytes that pass at a time, each after `pause`; None for as many as come.
        pause: Seconds.
        end: What happens after `after` bytes: ``cut`` ends both directions, ``reset`` does so with RST, ``half-close``
            ends this one, ``black-hole`` swallows everything and ends nothing.
        after: Bytes, at least one.
    """

    latency: float = 0.0
    jitter: float = 0.0
    trickle: int | None = None
    pause: float = 0.0
    end: Literal["cut", "reset", "half-close", "black-hole"] | None = None
    after: int = 1


@dataclass(frozen=True, kw_only=True)
class Weather:
    """What happens to a connection: to what the client sends, and to what it receives."""

    there: Path = field(default_factory=Path)
    back: Path = field(default_factory=Path)


CLEAN = Weather()


class ChaosProxy:
    """Listens on a free port of loopback for as long as the ``async with`` lasts.

    Args:
        target: Host and port that connections are made to.
        plan: The weather of a connection, by its number from 0.
        seed: Of the jitter.
    """

    def __init__(
        self, target: tuple[str, int], plan: Callable[[int], Weather] = lambda _: CLEAN, seed: int = 0
    ) -> None:
        self.plan = plan
        self.connections = 0
        self._target = target
        self._random = random.Random(seed)
        self._open: set[_End] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        ends = list(self._open)
        for end in ends:
            end.transport.abort()
        await asyncio.gather(*(end.lost for end in ends))

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()
        return host, port

    @property
    def open(self) -> int:
        """Connections from clients that are open now."""
        return sum(end.accepted for end in self._open)

    def _accept(self) -> _End:
        weather = self.plan(self.connections)
        self.connections += 1
        near, far = _End(self._open, accepted=True), _End(self._open, accepted=False)
        near.way = _Way(weather.there, near, far, self._random)
        far.way = _Way(weather.back, far, near, self._random)
        near.connect = asyncio.ensure_future(self._connect(near, far))
        return near

    async def _connect(self, near: _End, far: _End) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: far, *self._target)
        except OSError:
            near.transport.abort()
        else:
            near.transport.resume_reading()


class _End(asyncio.Protocol):
    """One end of a connection: what comes in here goes its way to the other."""

    transport: Any
    way: _Way
    connect: asyncio.Future[None] | None = None

    def __init__(self, ends: set[_End], *, accepted: bool) -> None:
        self.accepted = accepted
        self.lost = asyncio.get_running_loop().create_future()
        self._ends = ends
        self._heard = self._told = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._ends.add(self)
        if self.connect is not None:
            # Nothing can be passed on before there is somebody to pass it to.
            self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self.way.add(data)

    def eof_received(self) -> bool:
        self.way.add(b"")
        self._heard = True
        if self._told:
            self.transport.close()
        return True

    def end(self) -> None:
        """Say that nothing more comes; with both directions ended, the connection is over."""
        # It may have been reset, and the loop not know that yet.
        with suppress(OSError):
            self.transport.write_eof()
        self._told = True
        if self._heard:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._ends.discard(self)
        self.lost.set_result(None)
        self.way.source_lost()


class _Way:
    """The way from one end to the other."""

    def __init__(self, path: Path, source: _End, sink: _End, randomness: random.Random) -> None:
        self._path = path
        self._source = source
        self._sink = sink
        self._random = randomness
        self._loop = asyncio.get_running_loop()
        self._left = path.after if path.end else None
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._blind = False
        self._over = False

    def add(self, data: bytes) -> None:
        """Send a piece on its way; an empty one is the end."""
        path = self._path
        self._due = max(self._due, self._loop.time() + path.latency + self._random.uniform(0, path.jitter))
        for start in range(0, len(data) or 1, path.trickle or len(data) or 1):
            self._due += path.pause
            self._pieces.append((self._due, data[start : start + path.trickle] if path.trickle else data))
        self._size += len(data)
        if self._size > _IN_FLIGHT:
            self._source.transport.pause_reading()
        if self._timer is None:
            self._deliver()

    def swallow(self) -> None:
        """Pass nothing on any more."""
        self._blind = True

    def source_lost(self) -> None:
        """The end where bytes come from is gone: so is the other, but for what is on its way to it."""
        self._over = True
        if not self._pieces and hasattr(self._sink, "transport"):
            self._sink.transport.close()

    def _deliver(self) -> None:
        self._timer = None
        while self._pieces and not self._sink.lost.done():
            due, piece = self._pieces[0]
            if due > self._loop.time():
                self._timer = self._loop.call_at(due, self._deliver)
                return
            self._pieces.popleft()
            self._size -= len(piece)
            self._pass_on(piece)
        if self._over:
            self._sink.transport.close()
        if self._size <= _IN_FLIGHT and not self._source.lost.done():
            self._source.transport.resume_reading()

    def _pass_on(self, piece: bytes) -> None:
        if self._blind:
            return
        passing = piece if self._left is None else piece[: self._left]
        self._sink.transport.write(passing)
        if self._left is not None:
            self._left -= len(passing)
            if not self._left:
                self._end()
                return
        if not piece:
            self._sink.end()

    def _end(self) -> None:
        self._blind = True
        match self._path.end:
            case "cut":
                # Not closed, for bytes that nobody reads would make a reset of it.
                self._sink.way.swallow()
                self._sink.end()
                self._source.end()
            case "reset":
                for end in (self._sink, self._source):
                    made = end.transport.get_extra_info("socket")
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.transport.abort()
            case "half-close":
                self._sink.end()
            case _:
                pass
