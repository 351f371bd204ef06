"""When a delta was sent and which one it is, in its text: as the Go package of this name writes it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

__all__ = ["StampReader", "stamp"]

_NUMBERS = 1_000_000
_STAMP = re.compile(rb"@([0-9]{19})\.([0-9]{6}) ")
_SIZE = 28


def stamp(number: int) -> str:
    """The stamp of a delta that is sent now."""
    return f"@{time.time_ns():019d}.{number % _NUMBERS:06d} "


class StampReader:
    """Finds the stamps of one stream; ``lost`` counts those that did not come in their turn."""

    def __init__(self) -> None:
        self.lost = 0
        self._next = 0
        self._rest = b""

    def ages(self, text: bytes) -> Iterator[float]:
        """Seconds since each stamp that ends in ``text``."""
        now = time.time_ns()
        text = self._rest + text
        end = 0
        for found in _STAMP.finditer(text):
            end = found.end()
            self.lost += int(found[2]) != self._next
            self._next = (int(found[2]) + 1) % _NUMBERS
            yield (now - int(found[1])) / 1e9
        # What may be the beginning of one.
        start = text.rfind(b"@", end)
        self._rest = text[start:] if start >= 0 and len(text) - start < _SIZE else b""
