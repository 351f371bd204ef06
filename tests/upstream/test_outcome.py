"""What the error of an attempt tells the retry policy and the breaker."""

from __future__ import annotations

import pytest

from claude_grpc.errors import (
    StreamInterruptedError,
    UpstreamConnectionError,
    UpstreamContext,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from claude_grpc.upstream import RetryPolicy, is_overload, outcome_of
from claude_grpc.upstream.breaker import Verdict

ANSWERED, FAILED, UNKNOWN = Verdict.ANSWERED, Verdict.FAILED, Verdict.UNKNOWN


def answered(http_status: int, error_type: str = "") -> UpstreamStatusError:
    return UpstreamStatusError("x", http_status=http_status, error_type=error_type)


# error, word in the trailer, tried again, verdict of the breaker
CASES: list[tuple[UpstreamError, str, bool, Verdict]] = [
    (answered(400, "invalid_request_error"), "400", False, ANSWERED),
    (answered(408), "408", True, ANSWERED),
    (answered(409), "409", True, ANSWERED),
    (answered(429, "rate_limit_error"), "429", True, ANSWERED),
    (answered(500, "api_error"), "500", True, FAILED),
    (answered(503), "503", True, FAILED),
    (answered(529, "overloaded_error"), "529", True, FAILED),
    # Events of a stream
    (answered(200, "overloaded_error"), "overloaded_error", True, FAILED),
    (answered(200, "api_error"), "api_error", True, FAILED),
    (answered(200, "timeout_error"), "timeout_error", True, FAILED),
    (answered(200, "rate_limit_error"), "rate_limit_error", True, ANSWERED),
    (answered(200, "conflict_error"), "conflict_error", True, ANSWERED),
    (answered(200, "invalid_request_error"), "invalid_request_error", False, ANSWERED),
    (answered(200, "authentication_error"), "authentication_error", False, ANSWERED),
    (answered(200, "never_heard_of"), "never_heard_of", True, FAILED),
    (answered(200, "529,\r\nx: y"), "error", True, FAILED),
    (answered(200), "error", True, FAILED),
    # No answer
    (UpstreamConnectionError("x"), "connect", True, FAILED),
    (StreamInterruptedError("x"), "cut", True, FAILED),
    (UpstreamTimeoutError("x", phase="connect"), "connect-timeout", True, FAILED),
    (UpstreamTimeoutError("x", phase="pool"), "pool-timeout", True, UNKNOWN),
    (UpstreamTimeoutError("x", phase="write"), "write-timeout", True, UNKNOWN),
    (UpstreamTimeoutError("x", phase="read"), "read-timeout", False, UNKNOWN),
    (UpstreamProtocolError("x"), "garbled", False, UNKNOWN),
]


@pytest.mark.parametrize(("error", "word", "passing", "verdict"), CASES, ids=[f"{c[0]!r}-{c[1]}" for c in CASES])
def test_an_error_tells(error: UpstreamError, word: str, passing: bool, verdict: Verdict) -> None:
    outcome = outcome_of(error)
    assert (outcome.word, RetryPolicy().is_passing(outcome), outcome.verdict) == (word, passing, verdict)


def test_a_connect_timeout_of_a_caller_in_a_hurry_tells_nothing() -> None:
    outcome = outcome_of(UpstreamTimeoutError("x", phase="connect"), hurried=True)
    assert outcome.verdict is UNKNOWN
    assert RetryPolicy().is_passing(outcome)


@pytest.mark.parametrize("status", [200, 529])
def test_the_headers_of_the_answer_are_kept(status: int) -> None:
    context = UpstreamContext(headers={"retry-after": "3"})
    assert outcome_of(UpstreamStatusError("x", http_status=status, context=context)).headers == {"retry-after": "3"}


@pytest.mark.parametrize(
    ("error", "overload"),
    [
        (answered(529), True),
        (answered(200, "overloaded_error"), True),
        (answered(500, "overloaded_error"), True),
        (answered(503, "api_error"), False),
        (answered(429, "rate_limit_error"), False),
        (UpstreamConnectionError("x"), False),
    ],
)
def test_overload_is_what_upstream_says_it_is(error: UpstreamError, overload: bool) -> None:
    assert is_overload(error) is overload
