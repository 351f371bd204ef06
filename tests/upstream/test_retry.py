from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_grpc.upstream import Outcome, RetryPolicy
from support.properties import properties

NOW = 1_445_412_400.0  # Wed, 21 Oct 2015 07:26:40 GMT
OVERLOADED = Outcome(status=529)


def policy(**options: Any) -> RetryPolicy:
    return RetryPolicy(**{"random": lambda: 0.0, "wall_clock": lambda: NOW, **options})


@pytest.mark.parametrize("status", [408, 409, 429, 500, 501, 502, 503, 504, 520, 529, 599])
def test_a_passing_failure_is_tried_again(status: int) -> None:
    assert policy().decide(0, Outcome(status=status)) == 0.5


@pytest.mark.parametrize("status", [301, 307, 400, 401, 402, 403, 404, 405, 412, 413, 422, 424, 425, 431, 499])
def test_a_lasting_failure_is_not(status: int) -> None:
    assert policy().decide(0, Outcome(status=status)) is None


@pytest.mark.parametrize(
    ("outcome", "wait"),
    [
        (Outcome(broken=True), 0.5),
        (Outcome(timeout="connect"), 0.5),
        (Outcome(timeout="pool"), 0.5),
        (Outcome(timeout="write"), 0.5),
        (Outcome(timeout="read"), None),
        (Outcome(), None),
    ],
)
def test_without_a_response_all_is_tried_again_that_was_not_taken(outcome: Outcome, wait: float | None) -> None:
    assert policy().decide(0, outcome) == wait


@pytest.mark.parametrize(
    ("status", "asked", "retried"),
    [
        (400, "true", True),
        (404, "true", True),
        (529, "false", False),
        (429, "false", False),
        (529, "maybe", True),
        (400, "maybe", False),
    ],
)
def test_x_should_retry_is_over_the_status(status: int, asked: str, retried: bool) -> None:
    assert (policy().decide(0, Outcome(status=status, headers={"x-should-retry": asked})) is not None) is retried


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250.5", "retry-after": "9"}, 0.2505),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "0", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "-5"}, 0.5),
        ({"retry-after-ms": "1E-321"}, 0.5),
        ({"retry-after": "0"}, 0.5),
        ({"retry-after": "-1"}, 0.5),
        ({"retry-after": "nan"}, 0.5),
        ({"retry-after": ""}, 0.5),
        ({"retry-after": "soon"}, 0.5),
        ({"retry-after": "Wed, 21 Oct 2015 07:26:50 GMT"}, 10.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:26:50 -0000"}, 10.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:26:30 GMT"}, 0.5),
        ({"retry-after": "Wed, 99 Oct 99999 07:26:30 GMT"}, 0.5),
        ({"retry-after": "60"}, 60.0),
        ({"retry-after": "60.001"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after-ms": "61000"}, None),
        ({"retry-after": "Wed, 21 Oct 2099 07:26:50 GMT"}, None),
    ],
)
def test_the_wait_that_upstream_asks_for_is_taken_up_to_the_longest(
    headers: dict[str, str], wait: float | None
) -> None:
    assert policy().decide(0, Outcome(status=429, headers=headers)) == wait


def test_backoff_doubles_up_to_eight_seconds() -> None:
    waits = [policy(max_retries=99_999).decide(taken, OVERLOADED) for taken in (0, 1, 2, 3, 4, 5, 6, 99_998)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0]


def test_jitter_takes_off_up_to_a_quarter() -> None:
    assert policy(random=lambda: 0.5).decide(0, OVERLOADED) == 0.4375
    assert policy(random=lambda: 1.0).decide(4, OVERLOADED, max_retries=5) == 6.0


def test_jitter_is_not_taken_off_what_upstream_asks_for() -> None:
    assert policy(random=lambda: 1.0).decide(0, Outcome(status=429, headers={"retry-after": "2"})) == 2.0


@pytest.mark.parametrize(("own", "call", "retries"), [(2, None, 2), (0, None, 0), (2, 0, 0), (2, 5, 5), (0, 1, 1)])
def test_retries_end_with_the_policys_or_the_calls_number(own: int, call: int | None, retries: int) -> None:
    decisions = [policy(max_retries=own).decide(taken, OVERLOADED, max_retries=call) for taken in range(8)]
    assert [wait is not None for wait in decisions] == [taken < retries for taken in range(8)]


@pytest.mark.parametrize(
    ("time_left", "wait"), [(None, 3.0), (3.25, 3.0), (3.24, None), (3.0, None), (0.0, None), (-1.0, None)]
)
def test_no_attempt_is_planned_that_could_not_end_in_time(time_left: float | None, wait: float | None) -> None:
    outcome = Outcome(status=429, headers={"retry-after": "3"})
    assert policy(shortest=0.25).decide(0, outcome, time_left) == wait


@pytest.mark.parametrize(("time_left", "enough"), [(None, True), (0.1, True), (0.09, False), (0.0, False), (-1, False)])
def test_an_attempt_takes_some_time_at_least(time_left: float | None, enough: bool) -> None:
    assert policy().has_time(time_left) is enough


def test_the_defaults_wait_less_than_half_a_second_first() -> None:
    wait = RetryPolicy().decide(0, OVERLOADED)
    assert wait is not None
    assert 0.375 < wait <= 0.5


@properties
@given(
    taken=st.integers(0, 10),
    status=st.none() | st.integers(300, 999),
    headers=st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "x-should-retry"]),
        st.text() | st.floats().map(str) | st.datetimes().map(lambda date: date.strftime("%a, %d %b %Y %H:%M:%S GMT")),
    ),
    time_left=st.none() | st.floats(-10, 1000),
)
def test_whatever_upstream_says_a_wait_is_positive_and_within_its_bounds(
    taken: int, status: int | None, headers: dict[str, str], time_left: float | None
) -> None:
    wait = policy().decide(taken, Outcome(status=status, broken=True, headers=headers), time_left)
    if wait is not None:
        assert taken < 2
        assert 0 < wait <= 60.0
        assert time_left is None or wait < time_left
