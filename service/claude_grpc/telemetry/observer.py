"""What upstream tells of the attempts of one request, as frozen records through a hook: it knows no tracing.

Whoever sends a request gives it an ``AttemptObserver``; for each attempt there come ``started``, ``sent`` once the
request leaves, ``answered`` once there are headers, and ``ended``, which for the attempt that brings the answer is when
the answer has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

__all__ = ["SILENT", "AttemptEnded", "AttemptObserver", "AttemptStarted"]


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """An HTTP request is about to be made, the ``number``-th for its call; ``url`` is without the query."""

    number: int
    method: str
    url: str


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An HTTP exchange is over.

    Attributes:
        error: Why it failed, in a word: ``overloaded_error``, ``529``, ``connect``, ``cut``, ``cancelled`` …; empty if
            it did not.
        wait: Seconds after which another attempt is made; None if there is none.
        held_back: What has kept the attempt from being made again, ``budget`` or ``breaker``; empty if nothing has.
    """

    error: str = ""
    wait: float | None = None
    held_back: str = ""


class AttemptObserver(Protocol):
    """Is told of the attempts of one request, which follow one another."""

    def attempt_started(self, attempt: AttemptStarted) -> Mapping[str, str]:
        """Return headers to be sent with the attempt."""

    def attempt_sent(self) -> None:
        """There is a connection, and the request goes out on it."""

    def attempt_answered(self, status: int, request_id: str) -> None:
        """The response has begun, well or not; ``request_id`` is upstream's."""

    def attempt_ended(self, attempt: AttemptEnded) -> None:
        """The exchange is over."""


class _Silent:
    """Wants to know nothing."""

    def attempt_started(self, attempt: AttemptStarted) -> Mapping[str, str]:  # noqa: ARG002
        return MappingProxyType({})

    def attempt_sent(self) -> None: ...

    def attempt_answered(self, status: int, request_id: str) -> None: ...

    def attempt_ended(self, attempt: AttemptEnded) -> None: ...


SILENT: AttemptObserver = _Silent()
