"""The attempts of one request: every input in every state, and what is put together there."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest

from claude_grpc.errors import BreakerOpenError, DeadlineExceededError, UpstreamContext
from claude_grpc.upstream import BreakerPolicy, Outcome, RetryBudget, RetryPolicy
from claude_grpc.upstream.attempts import Attempts, AttemptState, Guard
from claude_grpc.upstream.breakers import Breakers

READY, RUNNING, COMMITTED, OVER = AttemptState
OVERLOADED = Outcome(status=529, word="529")
INVALID = Outcome(status=400, word="400")


class Setting:
    """A guard with a clock that stands still, and the attempts of requests under it."""

    def __init__(self, *, tokens: float = inf, failures: float = inf, max_retries: int = 2) -> None:
        self.now = 1000.0
        self.budget = RetryBudget(tokens=tokens)
        self.breakers = Breakers(BreakerPolicy(failures=failures, pause=5.0), clock=lambda: self.now)
        policy = RetryPolicy(max_retries=max_retries, shortest=0.25, random=lambda: 0.0)
        self.guard = Guard(policy, self.budget, self.breakers, lambda: self.now)

    def attempts(self, **options: Any) -> Attempts:
        return Attempts(self.guard, **{"model": "m", **options})


def in_state(state: AttemptState) -> Attempts:
    attempts = Setting().attempts()
    if state is not READY:
        attempts.begin()
    if state is COMMITTED:
        attempts.committed()
    if state is OVER:
        attempts.dropped()
    assert attempts.state is state
    return attempts


INPUTS: dict[str, Callable[[Attempts], object]] = {
    "begin": Attempts.begin,
    "committed": Attempts.committed,
    "failed for now": lambda attempts: attempts.failed(OVERLOADED),
    "failed for good": lambda attempts: attempts.failed(INVALID),
    "dropped": Attempts.dropped,
}
NEXT = {
    (READY, "begin"): RUNNING,
    (RUNNING, "committed"): COMMITTED,
    (RUNNING, "failed for now"): READY,
    (RUNNING, "failed for good"): OVER,
    (RUNNING, "dropped"): OVER,
    (COMMITTED, "failed for now"): OVER,
    (COMMITTED, "failed for good"): OVER,
}


@pytest.mark.parametrize("given", INPUTS)
@pytest.mark.parametrize("state", AttemptState)
def test_every_input_in_every_state(state: AttemptState, given: str) -> None:
    attempts = in_state(state)
    if (state, given) in NEXT:
        INPUTS[given](attempts)
        assert attempts.state is NEXT[state, given]
    else:
        with pytest.raises(RuntimeError, match=state.name):
            INPUTS[given](attempts)
        assert attempts.state is state


def test_attempts_are_counted_and_told_with_why_they_were_repeated() -> None:
    earlier = UpstreamContext(request_id="req_old", attempts=2, retries=("529",), fallback="overloaded")
    attempts = Setting().attempts(earlier=earlier)
    assert attempts.context == UpstreamContext(attempts=2, retries=("529",), model="m", fallback="overloaded")
    attempts.begin()
    assert attempts.failed(Outcome(broken=True, word="connect")) == 0.5
    attempts.begin()
    assert attempts.failed(OVERLOADED) == 1.0
    attempts.begin()
    assert attempts.failed(OVERLOADED) is None
    assert (attempts.context.attempts, attempts.context.retries) == (5, ("529", "connect", "529"))


def test_after_the_answer_has_begun_nothing_is_tried_again() -> None:
    attempts = Setting(max_retries=10).attempts()
    attempts.begin()
    attempts.committed()
    assert attempts.failed(OVERLOADED) is None


@pytest.mark.parametrize(("left", "allowed"), [(None, True), (0.25, True), (0.125, False), (0.0, False), (-5.0, False)])
def test_no_attempt_begins_that_could_not_end_in_time(left: float | None, allowed: bool) -> None:
    setting = Setting()
    attempts = setting.attempts(deadline=None if left is None else setting.now + left)
    assert attempts.time_left == left
    if allowed:
        attempts.begin()
    else:
        with pytest.raises(DeadlineExceededError) as caught:
            attempts.begin()
        assert caught.value.context == UpstreamContext(model="m")
        assert attempts.state is OVER


@pytest.mark.parametrize(("left", "wait"), [(0.75, 0.5), (0.7, None)])
def test_no_wait_is_begun_after_which_an_attempt_could_not_end_in_time(left: float, wait: float | None) -> None:
    setting = Setting()
    attempts = setting.attempts(deadline=setting.now + 60.0)
    attempts.begin()
    setting.now += 60.0 - left
    assert attempts.failed(OVERLOADED) == wait


def test_a_request_has_its_own_number_of_retries() -> None:
    attempts = Setting(max_retries=5).attempts(max_retries=0)
    attempts.begin()
    assert attempts.failed(OVERLOADED) is None


@pytest.mark.parametrize(("successes", "wait"), [(0, None), (10, None), (11, 0.5)])
def test_without_budget_nothing_is_repeated_until_others_succeed(successes: int, wait: float | None) -> None:
    setting = Setting(tokens=4)
    for expected in (0.5, None):
        attempts = setting.attempts()
        attempts.begin()
        assert attempts.failed(OVERLOADED) == expected
    for _ in range(successes):
        attempts = setting.attempts()
        attempts.begin()
        attempts.committed()
    attempts = setting.attempts()
    attempts.begin()
    assert attempts.failed(OVERLOADED) == wait


def test_what_is_wrong_with_a_request_costs_no_budget() -> None:
    setting = Setting(tokens=2)
    for _ in range(10):
        attempts = setting.attempts()
        attempts.begin()
        attempts.failed(INVALID)
    assert setting.budget.allows_retry


def test_failures_open_the_breaker_and_an_open_one_begins_nothing() -> None:
    setting = Setting(failures=2)
    attempts = setting.attempts()
    attempts.begin()
    assert attempts.failed(OVERLOADED) == 0.5
    attempts.begin()
    # The breaker has opened: there is no use in waiting a second for it.
    assert attempts.failed(OVERLOADED) is None
    other = setting.attempts()
    with pytest.raises(BreakerOpenError) as caught:
        other.begin()
    assert (caught.value.context, caught.value.retry_after) == (UpstreamContext(model="m"), 5.0)
    assert other.state is OVER
    setting.attempts(model="another").begin()
    setting.attempts(model="").begin()


def test_a_wait_that_outlasts_the_breakers_pause_is_waited() -> None:
    setting = Setting(failures=1)
    attempts = setting.attempts()
    attempts.begin()
    assert attempts.failed(Outcome(status=529, headers={"retry-after": "6"}, word="529")) == 6.0
    setting.now += 6.0
    attempts.begin()


@pytest.mark.parametrize("how", ["committed", "dropped", "failed"])
def test_a_probe_tells_the_breaker_how_it_ended(how: str) -> None:
    setting = Setting(failures=1)
    first = setting.attempts()
    first.begin()
    first.failed(OVERLOADED)
    setting.now += 5.0
    probe = setting.attempts()
    probe.begin()
    setting.now += 1.0
    assert setting.breakers.seconds_left("m") == 4.0
    if how == "failed":
        probe.failed(OVERLOADED)
    else:
        getattr(probe, how)()
    assert setting.breakers.seconds_left("m") == {"committed": 0.0, "dropped": 0.0, "failed": 5.0}[how]


def test_a_stream_that_fails_later_counts_as_well() -> None:
    setting = Setting(failures=2, tokens=4)
    for _ in range(2):
        attempts = setting.attempts()
        attempts.begin()
        attempts.committed()
        attempts.failed(Outcome(broken=True, word="cut"))
    [snapshot] = setting.breakers.snapshots()
    assert (snapshot.failures, snapshot.attempts) == (2, 3)
    attempts = setting.attempts()
    attempts.begin()
    assert attempts.failed(OVERLOADED) is None
