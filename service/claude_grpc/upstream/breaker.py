"""Whether a model is asked at all, while it fails again and again.

``Attempts`` asks before each attempt and tells what became of it. This is policy alone: time is passed in, and the
moment at which an attempt began is all that is remembered of it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from math import inf

__all__ = ["Breaker", "BreakerPolicy", "BreakerSnapshot", "BreakerState", "Verdict"]


class BreakerState(Enum):
    """What becomes of an attempt."""

    CLOSED = auto()
    """It is made."""
    OPEN = auto()
    """It is refused."""
    HALF_OPEN = auto()
    """It is made if no other is under way; how that one ends decides for all."""


class Verdict(Enum):
    """What an attempt tells of upstream."""

    ANSWERED = auto()
    """It is there: it answered, if only that the request is wrong."""
    FAILED = auto()
    """It is overloaded, broken or cannot be reached."""
    UNKNOWN = auto()
    """Nothing: the attempt was given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a breaker opens, and for how long.

    Attributes:
        failures: So many at least open it; ``inf`` for never.
        ratio: And at least this share of the attempts that are looked at.
        window: Seconds after which an attempt is no longer looked at.
        size: Most attempts that are looked at, the last ones.
        pause: Seconds until a probe is let through, and, while probes stay unanswered, each further one.
    """

    failures: float = 10
    ratio: float = 0.8
    window: float = 30.0
    size: int = 100
    pause: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSnapshot:
    """A breaker as it stands: whose, in which state, refusing for how many seconds more, and on what evidence."""

    name: str
    state: BreakerState
    seconds_left: float
    failures: int
    attempts: int


class Breaker:
    """The breaker of one model. An attempt is known by the moment at which it began, the ``now`` of its ``admit``.

    Closed until too many of the last attempts failed; then open for a pause; then half-open, until a probe was answered
    (closed) or failed (open). An attempt that began before the state changed says nothing about now.
    """

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._state = BreakerState.CLOSED
        self._since = -inf
        self._until = 0.0  # open: when the pause ends; half-open: when a further probe is let through
        self._probe = 0.0
        self._recent: deque[tuple[float, bool]] = deque()
        self._failures = 0

    def admit(self, now: float) -> bool:
        """Whether an attempt may be made now; then it counts as begun."""
        if self._state is BreakerState.CLOSED:
            return True
        if now < self._until:
            return False
        if self._state is BreakerState.OPEN:
            self._turn(BreakerState.HALF_OPEN, now)
        # A probe may take minutes to answer; until it has, another is let through after each pause.
        self._until = now + self._policy.pause
        self._probe = now
        return True

    def record(self, began: float, verdict: Verdict, now: float) -> None:
        """Note how the attempt that began then has ended."""
        if began < self._since:
            return
        if self._state is BreakerState.CLOSED and verdict is not Verdict.UNKNOWN:
            self._note(now, failed=verdict is Verdict.FAILED)
        elif self._state is BreakerState.HALF_OPEN:
            if verdict is Verdict.ANSWERED:
                self._turn(BreakerState.CLOSED, now)
            elif verdict is Verdict.FAILED:
                self._turn(BreakerState.OPEN, now)
            elif began == self._probe:
                self._until = now

    def seconds_left(self, now: float) -> float:
        """For how long attempts are refused; 0 if they are not."""
        return 0.0 if self._state is BreakerState.CLOSED else max(self._until - now, 0.0)

    def snapshot(self, name: str, now: float) -> BreakerSnapshot:
        """How it stands."""
        self._forget(now)
        paused = self._state is BreakerState.OPEN and now >= self._until
        return BreakerSnapshot(
            name=name,
            state=BreakerState.HALF_OPEN if paused else self._state,
            seconds_left=self.seconds_left(now),
            failures=self._failures,
            attempts=len(self._recent),
        )

    def _note(self, now: float, *, failed: bool) -> None:
        self._recent.append((now, failed))
        self._failures += failed
        self._forget(now)
        enough = self._failures >= self._policy.failures
        if failed and enough and self._failures >= self._policy.ratio * len(self._recent):
            self._turn(BreakerState.OPEN, now)

    def _forget(self, now: float) -> None:
        while self._recent and (
            self._recent[0][0] <= now - self._policy.window or len(self._recent) > self._policy.size
        ):
            _, failed = self._recent.popleft()
            self._failures -= failed

    def _turn(self, state: BreakerState, now: float) -> None:
        self._state = state
        self._since = now
        self._until = now + self._policy.pause
        if state is BreakerState.CLOSED:
            self._recent.clear()
            self._failures = 0
