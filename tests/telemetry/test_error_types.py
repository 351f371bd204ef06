from __future__ import annotations

import asyncio

import pytest

from claude_grpc.errors import (
    BreakerOpenError,
    DeadlineExceededError,
    InvalidRequestError,
    StreamInterruptedError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from claude_grpc.telemetry.error_types import error_type, rpc_error_type


def status_error(status: int, kind: str) -> UpstreamStatusError:
    return UpstreamStatusError("no", http_status=status, error_type=kind)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (None, ""),
        (asyncio.CancelledError(), "cancelled"),
        (GeneratorExit(), "cancelled"),
        (DeadlineExceededError("no"), "deadline_exceeded"),
        (StreamInterruptedError("no"), "stream_interrupted"),
        (UpstreamTimeoutError("no", phase="read"), "read_timeout"),
        (InvalidRequestError([]), "invalid_request"),
        (BreakerOpenError("no", retry_after=1), "breaker_open"),
        (ValueError("secret"), "ValueError"),
        (status_error(529, "overloaded_error"), "overloaded_error"),
        # What upstream writes is told only if it is a word.
        (status_error(500, "my secret"), "500"),
        (status_error(500, ""), "500"),
        (status_error(200, "my secret"), "unknown_error"),
    ],
)
def test_each_error_has_its_word(error: BaseException | None, word: str) -> None:
    assert error_type(error) == word


@pytest.mark.parametrize(
    ("code", "word"),
    [("OK", ""), ("INVALID_ARGUMENT", ""), ("CANCELLED", ""), ("INTERNAL", "INTERNAL"), ("UNAVAILABLE", "UNAVAILABLE")],
)
def test_only_what_is_the_servers_doing_is_an_error_of_it(code: str, word: str) -> None:
    assert rpc_error_type(code) == word
