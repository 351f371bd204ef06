"""When a stream's time is up: one timer for the whole of it, however many reads there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

__all__ = ["TimeLimit"]


class TimeLimit:
    """Ends the read that waits when the time is up, and refuses all further ones.

    Unlike ``asyncio.timeout`` it can span the whole life of an async generator: it cancels nothing but a read, in the
    task that reads.
    """

    def __init__(self) -> None:
        self._over = False
        self._reader: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def is_over(self) -> bool:
        """Whether the time is up."""
        return self._over

    def start(self, seconds: float | None) -> None:
        """Let the time run, until it is stopped; None for no limit."""
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(max(seconds, 0.0), self._end)

    def stop(self) -> None:
        """Let no more time run."""
        if self._timer is not None:
            self._timer.cancel()

    async def read(self, pieces: AsyncIterator[bytes]) -> bytes | None:
        """Return the next piece, None if there is none; ``TimeoutError`` if the time is up."""
        if self.is_over():
            raise TimeoutError
        self._reader = reader = asyncio.current_task()
        cancels = reader.cancelling() if reader is not None else 0
        try:
            return await anext(pieces, None)
        except asyncio.CancelledError:
            # If somebody else has cancelled as well, theirs is the word that counts.
            if self.is_over() and reader is not None and reader.uncancel() <= cancels:
                raise TimeoutError from None
            raise
        finally:
            self._reader = None

    def _end(self) -> None:
        self._over = True
        if self._reader is not None:
            self._reader.cancel()
