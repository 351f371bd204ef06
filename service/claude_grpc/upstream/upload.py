"""Bodies of requests that are sent in pieces, so that none is ever held whole in memory.

``UpstreamClient`` sends them; who makes the pieces, and of what, is not known here.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import IO, Final, Self

__all__ = ["Spool", "StreamedBody"]

_PIECE_BYTES: Final = 512 * 1024
_MEMORY_BYTES: Final = 4 * 1024 * 1024


class StreamedBody:
    """A request's body, made while it is sent.

    Args:
        make_pieces: Begins the body, from its first byte.
        length: Its bytes, where they are known; otherwise it is sent chunked.
        repeatable: Whether ``make_pieces`` can be called again. If not, a request is not sent again once its first
            piece was asked for.
    """

    def __init__(
        self, make_pieces: Callable[[], AsyncIterator[bytes]], *, length: int | None = None, repeatable: bool = False
    ) -> None:
        self.length = length
        self._make_pieces = make_pieces
        self._repeatable = repeatable
        self._begun = False

    @property
    def sendable(self) -> bool:
        """Whether all of it can be sent, now or again."""
        return self._repeatable or not self._begun

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._begun = True
        async for piece in self._make_pieces():
            if piece:  # an empty one would end a chunked body
                yield piece


class Spool:
    """A body that is collected before it is sent: in memory while it is small, else in a file without a name.

    To know its length, to send it again if upstream was busy, and to send nothing of what turns out to be wrong, it
    must lie somewhere; on disk it costs no memory. The file is gone with the context, at the latest with the process.
    """

    def __init__(self, *, memory_bytes: int = _MEMORY_BYTES) -> None:
        self.size = 0
        self._memory_bytes = memory_bytes
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._file: IO[bytes] | None = None
        self._reading = threading.Lock()

    async def write(self, *pieces: bytes) -> None:
        """Append the pieces, which are not joined, for that takes their memory once more."""
        self._waiting += pieces
        size = sum(map(len, pieces))
        self._waiting_bytes += size
        self.size += size
        if self._waiting_bytes > (_PIECE_BYTES if self._file else self._memory_bytes):
            await self._dump()

    async def body(self) -> StreamedBody:
        """All that was written, to be sent as often as need be."""
        if self._file:
            await self._dump()
        return StreamedBody(self._pieces, length=self.size, repeatable=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()

    async def _dump(self) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        file = self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115 # it is the context
        await asyncio.to_thread(_write, file, waiting)

    async def _pieces(self) -> AsyncIterator[bytes]:
        if self._file is None:
            yield b"".join(self._waiting)
            return
        for offset in range(0, self.size, _PIECE_BYTES):
            yield await asyncio.to_thread(self._read, self._file, offset)

    def _read(self, file: IO[bytes], offset: int) -> bytes:
        # A reading that was given up may still be under way in its thread.
        with self._reading:
            file.seek(offset)
            return file.read(_PIECE_BYTES)


def _write(file: IO[bytes], pieces: list[bytes]) -> None:
    file.writelines(pieces)
    file.flush()
