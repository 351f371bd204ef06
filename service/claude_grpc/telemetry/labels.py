"""Keeps metrics from growing without end: what callers and upstream write can make only so many series.

A name gets a label of its own only once upstream has served it, so that made-up names cannot take the places of real
ones; all others are ``_OTHER``.
"""

from __future__ import annotations

from claude_grpc.telemetry import names

__all__ = ["BoundedLabel"]

_LONGEST = 128


class BoundedLabel:
    """The values that a label may have.

    Args:
        most: How many there are at most, beside ``_OTHER``.
        known: Those that need no proof.
    """

    def __init__(self, most: int, known: frozenset[str] = frozenset()) -> None:
        self._most = most
        self._known = set(known)

    def of(self, value: str, *, proven: bool = False) -> str:
        """The label for a value; ``proven`` if it is not made up, and may have one of its own from now on."""
        if value in self._known:
            return value
        if proven and 0 < len(value) <= _LONGEST and len(self._known) < self._most:
            self._known.add(value)
            return value
        return names.OTHER
