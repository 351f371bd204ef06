"""How many attempts may be repeated while upstream fails.

One budget for all calls of a client: each call alone may be right to try again, and all together turn an overload into
an outage. A token bucket, by the rules of gRPC's own retry throttling (gRFC A6). This is policy alone.
"""

from __future__ import annotations

from typing import Final

__all__ = ["RetryBudget"]

_ATTEMPT: Final = 1000  # a token, in thousandths: whole numbers do not drift


class RetryBudget:
    """A bucket, full at first, that a failed attempt takes a token from and a successful one puts ``ratio`` into.

    Retries are allowed while it is more than half full: after so long an outage that it is not, each call has one
    attempt, and when upstream is back, ``ratio`` retries for each success.

    Args:
        tokens: What a full bucket holds; ``inf`` for no limit.
        ratio: Tokens that a success is worth.
    """

    def __init__(self, *, tokens: float = 100.0, ratio: float = 0.1) -> None:
        self._most = tokens * _ATTEMPT
        self._success = round(ratio * _ATTEMPT)
        self._missing = 0.0

    @property
    def allows_retry(self) -> bool:
        """Whether a failed attempt may be made again."""
        return self._missing < self._most / 2

    @property
    def left(self) -> float:
        """How full the bucket is, from 0 to 1."""
        return 1.0 - self._missing / self._most if self._most else 0.0

    def failed(self) -> None:
        """Note an attempt that failed, and might have gone well at another time."""
        self._missing = min(self._missing + _ATTEMPT, self._most)

    def succeeded(self) -> None:
        """Note an attempt that was answered."""
        self._missing = max(self._missing - self._success, 0.0)
