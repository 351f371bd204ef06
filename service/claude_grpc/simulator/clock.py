"""The simulator's time: the machine's, moved forward as tests ask, and written as the API writes it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ["DAY", "Clock", "timestamp"]

DAY = 24 * 60 * 60.0


class Clock:
    """Seconds since the epoch; nothing waits for it, everything that depends on time looks at it when asked."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the time forward."""
        self._ahead += seconds


def timestamp(seconds: float | None) -> str | None:
    """Return the RFC 3339 text of a time, None for none."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
