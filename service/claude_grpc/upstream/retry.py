"""Whether an attempt that failed may be made again, and when.

``Attempts`` asks after each failed attempt, before anything of an answer has come. This is policy alone: it neither
sends nor sleeps, and clock and randomness are passed in.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from typing import Final

from claude_grpc.upstream.outcome import SERVER_ERROR, Outcome

__all__ = ["RetryPolicy", "asked_wait"]

_RETRYABLE_STATUSES: Final = frozenset({408, 409, 429})
_RETRYABLE_TIMEOUTS: Final = frozenset({"connect", "pool", "write"})
_FIRST_BACKOFF: Final = 0.5
_BACKOFF_DOUBLINGS: Final = 4
_JITTER: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The Claude API's own rules, as its official clients follow them.

    Attributes:
        max_retries: Attempts after the first.
        max_wait: Seconds. A longer ``retry-after`` is not waited for: the caller shall know of it and decide.
        shortest: Seconds that an attempt takes at least; with less time left none is made.
        random: Uniform in [0, 1).
        wall_clock: Seconds since the epoch, for a ``retry-after`` that is a date.
    """

    max_retries: int = 2
    max_wait: float = 60.0
    shortest: float = 0.1
    random: Callable[[], float] = random.random
    wall_clock: Callable[[], float] = time.time

    def decide(
        self,
        retries_taken: int,
        outcome: Outcome,
        time_left: float | None = None,
        *,
        max_retries: int | None = None,
    ) -> float | None:
        """Return the seconds to wait before the next attempt, or None if there is to be none.

        ``time_left`` is what remains until the caller's deadline, None if it has none; ``max_retries`` replaces the
        policy's own for this call.
        """
        allowed = self.max_retries if max_retries is None else max_retries
        if retries_taken >= allowed or not self.is_passing(outcome):
            return None
        wait = asked_wait(outcome.headers, self.wall_clock())
        if wait is None:
            wait = self._backoff(retries_taken)
        elif wait > self.max_wait:
            return None
        return wait if self.has_time(time_left, wait) else None

    def has_time(self, time_left: float | None, wait: float = 0.0) -> bool:
        """Tell whether an attempt that begins after ``wait`` seconds could end in time."""
        return time_left is None or wait + self.shortest <= time_left

    @staticmethod
    def is_passing(outcome: Outcome) -> bool:
        """Tell whether the same attempt may go well at another time, and has not been billed."""
        asked = outcome.headers.get("x-should-retry")
        if asked in {"true", "false"}:
            return asked == "true"
        if outcome.status is not None:
            return outcome.status in _RETRYABLE_STATUSES or outcome.status >= SERVER_ERROR
        # After the read timeout the request is with upstream, where it may have been billed.
        return outcome.broken or outcome.timeout in _RETRYABLE_TIMEOUTS

    def _backoff(self, retries_taken: int) -> float:
        longest = _FIRST_BACKOFF * 2.0 ** min(retries_taken, _BACKOFF_DOUBLINGS)
        return longest * (1.0 - _JITTER * self.random())


def asked_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a response asks to wait, None if it does not; ``now`` in seconds since the epoch."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    # Divided first: the smallest numbers there are come to nothing by it.
    if milliseconds is not None and (asked := milliseconds / 1000.0) > 0:
        return asked
    retry_after = headers.get("retry-after", "")
    seconds = _number(retry_after)
    if seconds is None:
        date = _http_date(retry_after)
        seconds = None if date is None else date - now
    return seconds if seconds is not None and seconds > 0 else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _http_date(text: str) -> float | None:
    fields = parsedate_tz(text)
    try:
        return None if fields is None else mktime_tz(fields)
    except (OverflowError, ValueError):
        return None
