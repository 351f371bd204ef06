"""The attempts of one request: which may begin, what follows a failure, and where it is too late for another.

``UpstreamClient`` acts, this decides: it puts the retry policy, the budget, the breaker and the deadline together. It
neither sends nor sleeps, and the clock is passed in.

The commit point is where an answer has begun: with a unary call the headers of its response, with a stream its first
event. From there on nothing is tried again, even if nothing has gone to the caller yet, so that what happens does not
depend on how much one read from the network brings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from claude_grpc.errors import BreakerOpenError, DeadlineExceededError, UpstreamContext
from claude_grpc.upstream.breaker import Verdict
from claude_grpc.upstream.breakers import Breakers
from claude_grpc.upstream.budget import RetryBudget
from claude_grpc.upstream.outcome import Outcome
from claude_grpc.upstream.retry import RetryPolicy

__all__ = ["AttemptState", "Attempts", "Guard"]


@dataclass(frozen=True, slots=True)
class Guard:
    """What all requests of a client share; ``clock`` is monotonic."""

    policy: RetryPolicy
    budget: RetryBudget
    breakers: Breakers
    clock: Callable[[], float]


class AttemptState(Enum):
    """Where a request stands."""

    READY = auto()
    """An attempt may begin: the first, or one after a failure."""
    RUNNING = auto()
    """An attempt is under way."""
    COMMITTED = auto()
    """The answer has begun."""
    OVER = auto()
    """There is no further attempt."""


class Attempts:
    """READY → ``begin`` → RUNNING → ``committed`` → COMMITTED, or ``failed`` → READY again or OVER.

    Any other input is a bug, and raises ``RuntimeError``.

    Attributes:
        held_back: What has kept a failed attempt from being made again although the policy would have it: ``budget`` or
            ``breaker``; empty if nothing has.

    Args:
        guard: What is shared.
        earlier: What was tried for the same call before.
        model: What is asked, and whose breaker guards the request; empty for none.
        deadline: When the call's time is up, on the guard's clock.
        max_retries: Replaces the retry policy's own.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        earlier: UpstreamContext | None = None,
        model: str = "",
        deadline: float | None = None,
        max_retries: int | None = None,
    ) -> None:
        self.state = AttemptState.READY
        self.held_back = ""
        self._guard = guard
        self._earlier = earlier or UpstreamContext()
        self._model = model
        self._deadline = deadline
        self._max_retries = max_retries
        self._made = 0
        self._retries: tuple[str, ...] = ()
        self._began = 0.0

    @property
    def context(self) -> UpstreamContext:
        """What is known of the call before an answer: the attempts so far, with the one under way."""
        return UpstreamContext(
            attempts=self._earlier.attempts + self._made,
            retries=self._earlier.retries + self._retries,
            model=self._model,
            fallback=self._earlier.fallback,
        )

    @property
    def time_left(self) -> float | None:
        """Seconds until the deadline; None without one."""
        return None if self._deadline is None else self._deadline - self._guard.clock()

    def begin(self) -> None:
        """Note that an attempt begins.

        Raises:
            DeadlineExceededError: It could not end in time.
            BreakerOpenError: Its breaker is open.
        """
        self._expect(AttemptState.READY)
        self.state = AttemptState.OVER
        if not self._guard.policy.has_time(self.time_left):
            raise DeadlineExceededError("Too little time is left to ask upstream.", self.context)
        try:
            self._began = self._guard.breakers.admit(self._model)
        except BreakerOpenError as error:
            error.context = self.context
            raise
        self._made += 1
        self.state = AttemptState.RUNNING

    def committed(self) -> None:
        """Note that the answer has begun."""
        self._expect(AttemptState.RUNNING)
        self.state = AttemptState.COMMITTED
        self._guard.breakers.record(self._model, self._began, Verdict.ANSWERED)
        self._guard.budget.succeeded()

    def failed(self, outcome: Outcome, *, repeatable: bool = True) -> float | None:
        """Note a failure; return the seconds to wait before the next attempt, or None if there is to be none.

        What is not ``repeatable``, such as a body that was sent as it came, is not tried again.
        """
        self._expect(AttemptState.RUNNING, AttemptState.COMMITTED)
        began, self.state = self.state, AttemptState.OVER
        self._guard.breakers.record(self._model, self._began, outcome.verdict)
        if self._guard.policy.is_passing(outcome):
            self._guard.budget.failed()
        if began is AttemptState.COMMITTED or not repeatable:
            return None
        taken = self._made - 1
        wait = self._guard.policy.decide(taken, outcome, self.time_left, max_retries=self._max_retries)
        if wait is None:
            return None
        if not self._guard.budget.allows_retry:
            self.held_back = "budget"
            return None
        if self._guard.breakers.seconds_left(self._model) > wait:
            self.held_back = "breaker"
            return None
        self._retries += (outcome.word,)
        self.state = AttemptState.READY
        return wait

    def dropped(self) -> None:
        """Note that the attempt under way was given up by the caller, which says nothing about upstream."""
        self._expect(AttemptState.RUNNING)
        self.state = AttemptState.OVER
        self._guard.breakers.record(self._model, self._began, Verdict.UNKNOWN)

    def _expect(self, *states: AttemptState) -> None:
        if self.state not in states:
            raise RuntimeError(f"An attempt cannot do this when it is {self.state.name}.")
