from __future__ import annotations

from math import inf

import pytest

from claude_grpc.upstream import RetryBudget


def after(*, failures: int, successes: int = 0, tokens: float = 10, ratio: float = 0.1) -> bool:
    budget = RetryBudget(tokens=tokens, ratio=ratio)
    for _ in range(failures):
        budget.failed()
    for _ in range(successes):
        budget.succeeded()
    return budget.allows_retry


@pytest.mark.parametrize(("failures", "allowed"), [(0, True), (4, True), (5, False), (10, False), (1000, False)])
def test_retries_are_allowed_while_more_than_half_is_left(failures: int, allowed: bool) -> None:
    assert after(failures=failures) is allowed


@pytest.mark.parametrize(("successes", "allowed"), [(0, False), (50, False), (51, True)])
def test_an_empty_bucket_fills_by_a_tenth_of_a_token_for_each_success(successes: int, allowed: bool) -> None:
    assert after(failures=1000, successes=successes) is allowed


def test_a_full_bucket_takes_no_more() -> None:
    budget = RetryBudget(tokens=10)
    for _ in range(1000):
        budget.succeeded()
    for _ in range(5):
        assert budget.allows_retry
        budget.failed()
    assert not budget.allows_retry


def test_a_million_steps_do_not_drift() -> None:
    budget = RetryBudget(tokens=10, ratio=0.1)
    for _ in range(100_000):
        budget.failed()
        for _ in range(10):
            budget.succeeded()
    for _ in range(4):
        budget.failed()
    assert budget.allows_retry
    budget.failed()
    assert not budget.allows_retry


def test_without_a_limit_there_are_always_retries() -> None:
    assert after(failures=100_000, tokens=inf)
