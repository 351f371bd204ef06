"""Whether an attempt that failed is made again, and when.

``UpstreamClient`` asks after each failed attempt, while nothing of an answer has gone to the caller. This is policy
alone: it neither sends nor sleeps, and clock and randomness are passed in.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import mktime_tz, parsedate_tz
from types import MappingProxyType
from typing import Final

__all__ = ["Outcome", "RetryPolicy"]

_RETRYABLE_STATUSES: Final = frozenset({408, 409, 429})
_FIRST_SERVER_ERROR: Final = 500
_FIRST_BACKOFF: Final = 0.5
_BACKOFF_DOUBLINGS: Final = 4
_JITTER: Final = 0.25


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt failed.

    Attributes:
        status: The response's HTTP status; None if there was no response.
        timeout: The timeout that ran out, as in ``UpstreamTimeoutError.phase``; empty if none did.
        headers: The response's headers, by name in lower case.
    """

    status: int | None = None
    timeout: str = ""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The Claude API's own rules, as its official clients follow them.

    Attributes:
        max_retries: Attempts after the first.
        max_wait: Seconds. A longer ``retry-after`` is not waited for: the caller shall know of it and decide.
        random: Uniform in [0, 1).
        wall_clock: Seconds since the epoch, for a ``retry-after`` that is a date.
    """

    max_retries: int = 2
    max_wait: float = 60.0
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
        if retries_taken >= allowed or not _is_retryable(outcome):
            return None
        wait = self._asked_wait(outcome.headers)
        if wait is None:
            wait = self._backoff(retries_taken)
        elif wait > self.max_wait:
            return None
        return wait if time_left is None or wait < time_left else None

    def _backoff(self, retries_taken: int) -> float:
        longest = _FIRST_BACKOFF * 2.0 ** min(retries_taken, _BACKOFF_DOUBLINGS)
        return longest * (1.0 - _JITTER * self.random())

    def _asked_wait(self, headers: Mapping[str, str]) -> float | None:
        milliseconds = _number(headers.get("retry-after-ms", ""))
        if milliseconds is not None and milliseconds > 0:
            return milliseconds / 1000.0
        retry_after = headers.get("retry-after", "")
        seconds = _number(retry_after)
        if seconds is None:
            date = _http_date(retry_after)
            seconds = None if date is None else date - self.wall_clock()
        return seconds if seconds is not None and seconds > 0 else None


def _is_retryable(outcome: Outcome) -> bool:
    asked = outcome.headers.get("x-should-retry")
    if asked in {"true", "false"}:
        return asked == "true"
    if outcome.status is None:
        # After the read timeout the request is with upstream, where it may have been billed.
        return outcome.timeout != "read"
    return outcome.status in _RETRYABLE_STATUSES or outcome.status >= _FIRST_SERVER_ERROR


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
