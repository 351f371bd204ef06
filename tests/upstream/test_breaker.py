"""The breaker of one model, and those of many."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from claude_grpc.errors import BreakerOpenError
from claude_grpc.upstream import BreakerPolicy, BreakerState
from claude_grpc.upstream.breaker import Breaker, Verdict
from claude_grpc.upstream.breakers import Breakers

ANSWERED, FAILED, UNKNOWN = Verdict.ANSWERED, Verdict.FAILED, Verdict.UNKNOWN
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
POLICY = BreakerPolicy(failures=3, ratio=0.5, window=10.0, size=8, pause=5.0)
# A breaker that opens at 100 s pauses until 105 s.
OPENED = 100.0


def closed() -> Breaker:
    return Breaker(POLICY)


def opened() -> Breaker:
    breaker = closed()
    for _ in range(3):
        breaker.record(OPENED - 1, FAILED, OPENED)
    return breaker


def probing() -> Breaker:
    breaker = opened()
    assert breaker.admit(105.0)
    return breaker


def state(breaker: Breaker, now: float) -> BreakerState:
    return breaker.snapshot("m", now).state


# state → (when, input) → (state then, whether an attempt is admitted then)
ADMIT = "admit"
Input = str | tuple[float, Verdict]
CASES: list[tuple[str, Callable[[], Breaker], float, Input, BreakerState, bool]] = [
    ("closed", closed, 106, ADMIT, CLOSED, True),
    ("closed", closed, 106, (106, ANSWERED), CLOSED, True),
    ("closed", closed, 106, (106, FAILED), CLOSED, True),
    ("closed", closed, 106, (106, UNKNOWN), CLOSED, True),
    ("open", opened, 104.9, ADMIT, OPEN, False),
    ("open", opened, 104.9, (99, ANSWERED), OPEN, False),
    ("open", opened, 104.9, (99, FAILED), OPEN, False),
    ("open", opened, 104.9, (99, UNKNOWN), OPEN, False),
    # What began in the very moment in which it opened cannot close it, either.
    ("open", opened, 104.9, (100, ANSWERED), OPEN, False),
    # The pause is over, and nobody has asked yet.
    ("over", opened, 105, ADMIT, HALF_OPEN, False),
    ("over", opened, 105, (99, ANSWERED), HALF_OPEN, True),
    ("over", opened, 105, (99, FAILED), HALF_OPEN, True),
    ("over", opened, 105, (99, UNKNOWN), HALF_OPEN, True),
    ("half-open", probing, 106, ADMIT, HALF_OPEN, False),
    ("half-open", probing, 106, (105, ANSWERED), CLOSED, True),
    ("half-open", probing, 106, (105, FAILED), OPEN, False),
    ("half-open", probing, 106, (105, UNKNOWN), HALF_OPEN, True),
    # An attempt from before says nothing about now.
    ("half-open", probing, 106, (99, ANSWERED), HALF_OPEN, False),
    ("half-open", probing, 106, (99, FAILED), HALF_OPEN, False),
    ("half-open", probing, 106, (99, UNKNOWN), HALF_OPEN, False),
    ("silent probe", probing, 110, ADMIT, HALF_OPEN, False),
    ("silent probe", probing, 110, (105, ANSWERED), CLOSED, True),
    ("silent probe", probing, 110, (105, FAILED), OPEN, False),
    ("silent probe", probing, 110, (105, UNKNOWN), HALF_OPEN, True),
]


@pytest.mark.parametrize(("name", "make", "now", "given", "then", "admits"), CASES)
def test_every_input_in_every_state(
    *, name: str, make: Callable[[], Breaker], now: float, given: Input, then: BreakerState, admits: bool
) -> None:
    breaker = make()
    if isinstance(given, str):
        assert breaker.admit(now) is (name not in {"open", "half-open"})
    else:
        began, verdict = given
        breaker.record(began, verdict, now)
    assert state(breaker, now) is then
    assert (breaker.seconds_left(now) == 0) is admits
    assert breaker.admit(now) is admits


def test_the_table_has_every_input_in_every_state() -> None:
    inputs = {(name, given if isinstance(given, str) else given[1]) for name, _, _, given, _, _ in CASES}
    assert inputs == set(product({name for name, *_ in CASES}, {ADMIT, ANSWERED, FAILED, UNKNOWN}))


def test_a_second_probe_after_a_silent_one_may_decide_as_well() -> None:
    for decides in (105.0, 110.0):
        breaker = probing()
        assert breaker.admit(110.0)
        breaker.record(decides, ANSWERED, 111.0)
        assert state(breaker, 111.0) is CLOSED


def test_an_old_probe_that_is_given_up_makes_no_room_beside_the_new_one() -> None:
    breaker = probing()
    assert breaker.admit(110.0)
    breaker.record(105.0, UNKNOWN, 111.0)
    assert not breaker.admit(111.0)


@pytest.mark.parametrize(
    ("outcomes", "then"),
    [
        ([FAILED] * 2, CLOSED),
        ([FAILED] * 3, OPEN),
        ([ANSWERED] * 3 + [FAILED] * 3, OPEN),
        ([ANSWERED] * 4 + [FAILED] * 3, CLOSED),
        ([ANSWERED] * 4 + [FAILED] * 4, OPEN),
        # An answer is never what opens it, even if it pushes older answers out of the window.
        ([FAILED] * 2 + [ANSWERED] * 9 + [FAILED] * 3, CLOSED),
        ([UNKNOWN] * 9 + [FAILED] * 2 + [UNKNOWN] * 9, CLOSED),
    ],
)
def test_it_opens_when_enough_and_a_large_enough_share_have_failed(outcomes: list[Verdict], then: BreakerState) -> None:
    breaker = closed()
    for verdict in outcomes:
        breaker.record(100.0, verdict, 100.0)
    assert state(breaker, 100.0) is then


def test_failures_are_forgotten_after_the_window() -> None:
    breaker = closed()
    for now in (100.0, 105.0, 110.0, 115.0, 120.0):
        breaker.record(now, FAILED, now)
    assert state(breaker, 120.0) is CLOSED
    assert breaker.snapshot("m", 124.9).failures == 2
    assert breaker.snapshot("m", 130.0).failures == 0


def test_after_it_has_closed_old_failures_do_not_count() -> None:
    breaker = probing()
    breaker.record(105.0, ANSWERED, 106.0)
    breaker.record(106.0, FAILED, 106.0)
    breaker.record(99.0, FAILED, 106.0)
    breaker.record(99.0, FAILED, 106.0)
    snapshot = breaker.snapshot("m", 106.0)
    assert (snapshot.state, snapshot.failures, snapshot.attempts) == (CLOSED, 1, 1)


def test_never_is_never() -> None:
    breaker = Breaker(BreakerPolicy(failures=inf))
    for _ in range(1000):
        breaker.record(100.0, FAILED, 100.0)
    assert breaker.admit(100.0)
    assert breaker.snapshot("m", 100.0).attempts == 100


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens: refused for a pause at most, one probe a pause, and an answered probe lets everybody in."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = closed()
        self.now = 100.0
        self.running: list[float] = []
        self.admitted_at: list[float] = []

    @rule(seconds=st.sampled_from([0.0, 0.5, 2.5, 5.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        was = state(self.breaker, self.now)
        left = self.breaker.seconds_left(self.now)
        admitted = self.breaker.admit(self.now)
        assert admitted is (left == 0)
        if admitted:
            self.running.append(self.now)
            if was is not CLOSED:
                assert not self.breaker.admit(self.now)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), verdict=st.sampled_from(list(Verdict)))
    def end(self, data: st.DataObject, verdict: Verdict) -> None:
        began = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.breaker.record(began, verdict, self.now)

    @invariant()
    def refuses_for_a_pause_at_most(self) -> None:
        assert 0 <= self.breaker.seconds_left(self.now) <= POLICY.pause

    @invariant()
    def remembers_little(self) -> None:
        snapshot = self.breaker.snapshot("m", self.now)
        assert 0 <= snapshot.failures <= snapshot.attempts <= POLICY.size


AnyHistory.TestCase.settings = settings(deadline=None, derandomize=True, database=None, max_examples=50)
TestAnyHistory = AnyHistory.TestCase


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_models_are_judged_apart() -> None:
    clock = Clock()
    breakers = Breakers(POLICY, clock=clock)
    for _ in range(3):
        breakers.record("broken", breakers.admit("broken"), FAILED)
    clock.now += 2
    with pytest.raises(BreakerOpenError, match="broken has been failing; the gateway asks it again in 3 s") as caught:
        breakers.admit("broken")
    assert caught.value.retry_after == breakers.seconds_left("broken") == 3.0
    assert breakers.admit("whole") == 102.0
    assert breakers.seconds_left("whole") == 0.0


def test_only_what_has_failed_is_kept() -> None:
    breakers = Breakers(POLICY)
    breakers.record("a", breakers.admit("a"), ANSWERED)
    breakers.record("b", breakers.admit("b"), UNKNOWN)
    assert breakers.snapshots() == []
    breakers.record("c", breakers.admit("c"), FAILED)
    breakers.record("c", breakers.admit("c"), ANSWERED)
    [snapshot] = breakers.snapshots()
    assert (snapshot.name, snapshot.state, snapshot.failures, snapshot.attempts) == ("c", CLOSED, 1, 2)


@pytest.mark.parametrize("name", ["", "m" * 257])
def test_what_is_no_models_name_has_no_breaker(name: str) -> None:
    breakers = Breakers(POLICY)
    for _ in range(10):
        breakers.record(name, breakers.admit(name), FAILED)
    assert breakers.snapshots() == []


def test_so_many_are_kept_and_the_least_used_is_forgotten() -> None:
    breakers = Breakers(POLICY, most=3)
    for name in "abc":
        breakers.record(name, breakers.admit(name), FAILED)
    breakers.admit("a")
    breakers.record("d", breakers.admit("d"), FAILED)
    assert [snapshot.name for snapshot in breakers.snapshots()] == ["a", "c", "d"]


def test_the_defaults_take_the_system_clock() -> None:
    breakers = Breakers()
    for _ in range(10):
        breakers.record("m", breakers.admit("m"), FAILED)
    assert 2 < breakers.seconds_left("m") <= 3
