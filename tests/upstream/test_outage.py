"""Many calls through an upstream that fails for a while, in simulated time: what reaches it, and how soon all is well.

The machines are the real ones; only sending and sleeping are played.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf

import pytest

from claude_grpc.errors import BreakerOpenError, DeadlineExceededError
from claude_grpc.upstream import BreakerPolicy, Outcome, RetryBudget, RetryPolicy
from claude_grpc.upstream.attempts import Attempts, Guard
from claude_grpc.upstream.breakers import Breakers

BEGIN, END = 60.0, 180.0  # of the outage
OVERLOADED = Outcome(status=529, word="529")
NOBODY_THERE = Outcome(timeout="connect", word="connect-timeout")


@dataclass
class Sample:
    """One call: when it came, its attempts, and when it was answered, if ever."""

    at: float
    attempts: list[float] = field(default_factory=list)
    answered: float = inf


class World:
    """Calls at a steady rate, and an upstream of which ``failing(now, uniform)`` tells whether it fails an attempt."""

    def __init__(
        self,
        failing: Callable[[float, float], bool],
        *,
        breaker: BreakerPolicy | None = None,
        tokens: float = 100,
        failure: Outcome = OVERLOADED,
        failure_takes: float = 0.05,
        seed: int = 1,
    ) -> None:
        self.now = 0.0
        self.calls: list[Sample] = []
        self._failing = failing
        self._failure = failure
        self._failure_takes = failure_takes
        self._random = random.Random(seed)
        self._guard = Guard(
            RetryPolicy(random=self._random.random, wall_clock=lambda: self.now),
            RetryBudget(tokens=tokens),
            Breakers(breaker or BreakerPolicy(), clock=lambda: self.now),
            lambda: self.now,
        )

    def run(self, *, rate: float, until: float) -> None:
        events: list[tuple[float, int, Iterator[float]]] = []
        numbers = count()
        for number in range(int(rate * until)):
            heappush(events, (number / rate, next(numbers), self._call()))
        while events:
            self.now, _, call = heappop(events)
            for seconds in call:
                heappush(events, (self.now + seconds, next(numbers), call))
                break

    def _call(self) -> Iterator[float]:
        sample = Sample(self.now)
        self.calls.append(sample)
        attempts = Attempts(self._guard, model="m", deadline=self.now + 60.0)
        while True:
            try:
                attempts.begin()
            except (BreakerOpenError, DeadlineExceededError):
                return
            sample.attempts.append(self.now)
            if not self._failing(self.now, self._random.random()):
                yield 0.5
                attempts.committed()
                sample.answered = self.now
                return
            yield self._failure_takes
            wait = attempts.failed(self._failure)
            if wait is None:
                return
            yield wait

    def between(self, begin: float, end: float) -> tuple[int, int]:
        """How many calls came, and how many attempts were made, in that time."""
        calls = sum(begin <= call.at < end for call in self.calls)
        return calls, sum(begin <= at < end for call in self.calls for at in call.attempts)

    def unanswered(self, begin: float, end: float) -> int:
        return sum(begin <= call.at < end and call.answered == inf for call in self.calls)


def outage(now: float, uniform: float) -> bool:
    return BEGIN <= now < END


NO_BREAKER = BreakerPolicy(failures=inf)


@pytest.mark.parametrize("rate", [1.0, 20.0, 100.0])
def test_in_an_outage_the_budget_alone_keeps_attempts_below_110_percent_of_calls(rate: float) -> None:
    world = World(outage, breaker=NO_BREAKER)
    world.run(rate=rate, until=END + 60)
    # Half of the tokens are used up after 50 failures; the retries that were waiting then still come.
    used_up = BEGIN + 50 / rate + 2
    calls, attempts = world.between(used_up, END)
    assert calls > 50
    assert calls <= attempts + 1 <= 1.1 * calls + 1


def test_without_a_budget_an_outage_is_multiplied() -> None:
    world = World(outage, breaker=NO_BREAKER, tokens=inf)
    world.run(rate=20, until=END)
    calls, attempts = world.between(BEGIN + 5, END)
    assert attempts > 2.5 * calls


@pytest.mark.parametrize("rate", [1.0, 20.0, 100.0])
def test_in_an_outage_the_breaker_leaves_little_more_than_probes(rate: float) -> None:
    world = World(outage)
    world.run(rate=rate, until=END)
    calls, attempts = world.between(BEGIN, END)
    probes = (END - BEGIN) / BreakerPolicy().pause
    assert attempts <= 1.1 * calls
    # Before it opens four fifths of the last hundred attempts must have failed; others were on their way then.
    assert attempts <= probes + 100 + 0.2 * rate


@pytest.mark.parametrize(
    ("failure", "takes"), [(OVERLOADED, 0.05), (NOBODY_THERE, 5.0)], ids=["overloaded", "black hole"]
)
@pytest.mark.parametrize("rate", [1.0, 20.0, 100.0])
def test_when_upstream_is_back_all_is_well_within_ten_seconds(rate: float, failure: Outcome, takes: float) -> None:
    world = World(outage, failure=failure, failure_takes=takes)
    world.run(rate=rate, until=END + 120)
    assert min(call.answered for call in world.calls if call.at >= END) <= END + 10
    assert world.unanswered(END + 10, END + 120) == 0
    assert world.unanswered(0, BEGIN - 10) == 0


def test_the_budget_is_back_when_a_tenth_of_it_was_earned() -> None:
    world = World(lambda now, uniform: outage(now, uniform) or (now >= END + 60 and uniform < 0.05))
    world.run(rate=20, until=END + 180)
    # One in twenty fails again, and each is repeated.
    calls, attempts = world.between(END + 60, END + 180)
    assert attempts > 1.03 * calls
    assert world.unanswered(END + 60, END + 180) <= 0.002 * calls


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_a_part_of_overload_is_not_multiplied_and_closes_nobody_out(share: float) -> None:
    world = World(lambda now, uniform: uniform < share)
    world.run(rate=50, until=300)
    calls, attempts = world.between(60, 300)
    assert calls <= attempts <= 1.1 * calls
    # That many fail, and no more: none was refused by the breaker.
    assert world.unanswered(60, 300) <= (share + 0.02) * calls


def test_without_failures_nothing_is_refused_or_repeated() -> None:
    world = World(lambda now, uniform: False)
    world.run(rate=50, until=60)
    assert world.between(0, 60) == (3000, 3000)
    assert world.unanswered(0, 60) == 0
