"""Gathering what a stream brings for a while, so that all that happens to it further on happens once.

Stands between the socket and the parser of the response: what waits here has cost no more than to be read. Only events
that are deltas wait, and only if others came just before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import floor, inf
from typing import Final

__all__ = ["Gathering", "Windows"]

# Of a window: so much longer it may be, to end together with others.
_SLACK: Final = 0.25
# More than this never waits.
_MOST_BYTES: Final = 8 * 1024


class Windows:
    """Ends the windows of many streams together, so that they wake the loop once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends: dict[float, list[Callable[[], None]]] = {}

    def time(self) -> float:
        """Seconds on the loop's clock."""
        return self._loop.time()

    def at_end(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call back when a window of at least that length ends which begins now."""
        step = seconds * _SLACK
        end = (floor((self._loop.time() + seconds) / step) + 1) * step
        callbacks = self._ends.get(end)
        if callbacks is None:
            callbacks = self._ends[end] = []
            self._loop.call_at(end, self._end, end)
        callbacks.append(callback)

    def _end(self, end: float) -> None:
        for callback in self._ends.pop(end):
            # Each on its own: one that fails is not the others' matter.
            self._loop.call_soon(callback)


class Gathering:
    """Gathers one response.

    Args:
        windows: Shared by all.
        seconds: How long a window is.
        deliver: Is given what was gathered.
    """

    def __init__(self, windows: Windows, seconds: float, deliver: Callable[[bytes], None]) -> None:
        self._windows = windows
        self._seconds = seconds
        self._deliver = deliver
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._delivered_at = -inf

    def take(self, data: bytes) -> None:
        """Deliver what came: later if it can wait, else now, after what was held before it."""
        can_wait = _are_deltas(data)
        if not can_wait and not self._held:
            self._deliver(data)
            return
        self._held.append(data)
        self._held_bytes += len(data)
        if not can_wait or self._held_bytes > _MOST_BYTES:
            self.flush()
        elif len(self._held) == 1:
            # To wait is of no use where events come one at a time, and the first text is wanted soonest.
            if self._windows.time() - self._delivered_at > 2 * self._seconds:
                self.flush()
            else:
                self._windows.at_end(self._seconds, self.flush)

    def flush(self) -> None:
        """Deliver what is held."""
        if self._held:
            self._delivered_at = self._windows.time()
            held, self._held, self._held_bytes = b"".join(self._held), [], 0
            self._deliver(held)


def _are_deltas(data: bytes) -> bool:
    """Whether these are deltas and nothing else. A text that looks like an event only makes them come sooner."""
    return 0 < data.count(b"event: ") == data.count(b"event: content_block_delta\n")
