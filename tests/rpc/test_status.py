"""The table from errors to status codes, and the size of what goes out."""

from __future__ import annotations

import time
from email.utils import formatdate

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from claude_grpc import errors
from claude_grpc.errors import (
    BreakerOpenError,
    DeadlineExceededError,
    DrainingError,
    GatewayError,
    GatewayOverloadedError,
    InvalidRequestError,
    NotFoundError,
    OutOfRangeError,
    RefusedError,
    RequestError,
    RequestTooLargeError,
    StreamInterruptedError,
    UpstreamConnectionError,
    UpstreamContext,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
    Violation,
)
from claude_grpc.rpc.status import MAX_DETAILS_BYTES, MAX_MESSAGE_BYTES, RpcStatus, bug_status, status_of

Code = grpc.StatusCode


def answered(http_status: int, error_type: str = "", **headers: str) -> UpstreamStatusError:
    context = UpstreamContext(request_id="req_1", attempts=2, headers=headers)
    return UpstreamStatusError("messages.0: bad", http_status=http_status, error_type=error_type, context=context)


def details(status: RpcStatus) -> dict[str, Message]:
    encoded = status.trailers["grpc-status-details-bin"]
    assert isinstance(encoded, bytes)
    found: dict[str, Message] = {}
    for packed in status_pb2.Status.FromString(encoded).details:
        name = packed.TypeName().rpartition(".")[2]
        message = getattr(error_details_pb2, name)()
        packed.Unpack(message)
        assert name not in found
        found[name] = message
    return found


def info(status: RpcStatus) -> error_details_pb2.ErrorInfo:
    message = details(status)["ErrorInfo"]
    assert isinstance(message, error_details_pb2.ErrorInfo)
    return message


# HTTP status, error.type, code, reason, further details
ANSWERS = [
    (400, "invalid_request_error", Code.INVALID_ARGUMENT, "INVALID_REQUEST", {"BadRequest"}),
    (422, "", Code.INVALID_ARGUMENT, "INVALID_REQUEST", {"BadRequest"}),
    (413, "request_too_large", Code.INVALID_ARGUMENT, "REQUEST_TOO_LARGE", {"BadRequest"}),
    (413, "", Code.INVALID_ARGUMENT, "REQUEST_TOO_LARGE", {"BadRequest"}),
    (401, "authentication_error", Code.UNAUTHENTICATED, "AUTHENTICATION", set()),
    (402, "billing_error", Code.FAILED_PRECONDITION, "BILLING", {"PreconditionFailure"}),
    (403, "permission_error", Code.PERMISSION_DENIED, "PERMISSION", set()),
    (404, "not_found_error", Code.NOT_FOUND, "NOT_FOUND", {"ResourceInfo"}),
    (408, "", Code.UNAVAILABLE, "UPSTREAM_TIMEOUT", set()),
    (409, "conflict_error", Code.ABORTED, "CONFLICT", set()),
    (410, "", Code.NOT_FOUND, "GONE", {"ResourceInfo"}),
    (412, "", Code.FAILED_PRECONDITION, "PRECONDITION", {"PreconditionFailure"}),
    (416, "", Code.OUT_OF_RANGE, "OUT_OF_RANGE", set()),
    (418, "", Code.INVALID_ARGUMENT, "INVALID_REQUEST", {"BadRequest"}),
    (429, "rate_limit_error", Code.RESOURCE_EXHAUSTED, "RATE_LIMIT", {"RetryInfo", "QuotaFailure"}),
    (500, "api_error", Code.INTERNAL, "API_ERROR", set()),
    (501, "", Code.UNIMPLEMENTED, "NOT_IMPLEMENTED", set()),
    (502, "", Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", {"RetryInfo"}),
    (503, "", Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", {"RetryInfo"}),
    (503, "api_error", Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", {"RetryInfo"}),
    (504, "timeout_error", Code.UNAVAILABLE, "UPSTREAM_TIMEOUT", set()),
    (529, "overloaded_error", Code.UNAVAILABLE, "OVERLOADED", {"RetryInfo"}),
    # error.type decides before the status
    (200, "overloaded_error", Code.UNAVAILABLE, "OVERLOADED", {"RetryInfo"}),
    (500, "overloaded_error", Code.UNAVAILABLE, "OVERLOADED", {"RetryInfo"}),
    (400, "rate_limit_error", Code.RESOURCE_EXHAUSTED, "RATE_LIMIT", {"RetryInfo", "QuotaFailure"}),
    (200, "never_heard_of", Code.INTERNAL, "API_ERROR", set()),
]


@pytest.mark.parametrize(("http_status", "error_type", "code", "reason", "more"), ANSWERS)
def test_an_answer_of_upstream_has_its_row(
    http_status: int, error_type: str, code: grpc.StatusCode, reason: str, more: set[str]
) -> None:
    status = status_of(answered(http_status, error_type))
    assert (status.code, status.reason) == (code, reason)
    assert details(status).keys() == {"ErrorInfo", "RequestInfo"} | more
    metadata = info(status).metadata
    assert info(status).domain == "api.anthropic.com"
    assert metadata["httpStatus"] == str(http_status)
    assert metadata["requestId"] == "req_1"
    assert metadata["attempts"] == "2"
    assert (metadata["safeToRetry"] == "true") == ("RetryInfo" in more)


@pytest.mark.parametrize(
    ("http_status", "error_type", "error_code", "code", "more"),
    [
        (400, "invalid_request_error", "file_not_downloadable", Code.FAILED_PRECONDITION, "PreconditionFailure"),
        (404, "not_found_error", "file_expired", Code.NOT_FOUND, "ResourceInfo"),
    ],
)
def test_the_code_of_an_error_decides_before_its_type(
    http_status: int, error_type: str, error_code: str, code: grpc.StatusCode, more: str
) -> None:
    status = status_of(UpstreamStatusError("x", http_status=http_status, error_type=error_type, error_code=error_code))
    assert (status.code, status.reason) == (code, error_code.upper())
    assert details(status).keys() == {"ErrorInfo", more}
    assert info(status).metadata["errorCode"] == error_code


def test_an_unknown_code_leaves_the_type_to_decide() -> None:
    error = UpstreamStatusError("x", http_status=404, error_type="not_found_error", error_code="never_heard_of")
    assert status_of(error).reason == "NOT_FOUND"


def test_what_passes_a_limit_is_named() -> None:
    error = RequestTooLargeError(100_001, 100_000, field="items[100000]", unit="requests")
    bad = details(status_of(error))["BadRequest"]
    assert isinstance(bad, error_details_pb2.BadRequest)
    [violation] = bad.field_violations
    assert violation.field == "items[100000]"
    assert (
        violation.description == "items[100000]: With it the request has 100001 requests; at most 100000 are allowed."
    )


OWN: list[tuple[RequestError | RefusedError | UpstreamError, grpc.StatusCode, str]] = [
    (InvalidRequestError([Violation("a.b", "Required.")]), Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    (RequestTooLargeError(5, 4), Code.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"),
    (RequestTooLargeError(5, 4, field="items[4]", unit="requests"), Code.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"),
    (OutOfRangeError("offset", 4), Code.OUT_OF_RANGE, "OUT_OF_RANGE"),
    (NotFoundError("x"), Code.NOT_FOUND, "NOT_FOUND"),
    (GatewayOverloadedError("x", retry_after=1.0), Code.UNAVAILABLE, "GATEWAY_OVERLOADED"),
    (DrainingError("x", retry_after=1.0), Code.UNAVAILABLE, "DRAINING"),
    (UpstreamConnectionError("x"), Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    (UpstreamTimeoutError("x", phase="read"), Code.UNAVAILABLE, "UPSTREAM_TIMEOUT"),
    (UpstreamProtocolError("x"), Code.INTERNAL, "UPSTREAM_PROTOCOL"),
    (StreamInterruptedError("x"), Code.UNAVAILABLE, "STREAM_INTERRUPTED"),
    (BreakerOpenError("x", retry_after=2.5), Code.UNAVAILABLE, "BREAKER_OPEN"),
    (DeadlineExceededError("x"), Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
]


@pytest.mark.parametrize(("error", "code", "reason"), OWN, ids=[type(row[0]).__name__ for row in OWN])
def test_an_error_of_the_gateway_has_its_row(
    error: RequestError | RefusedError | UpstreamError, code: grpc.StatusCode, reason: str
) -> None:
    status = status_of(error)
    assert (status.code, status.reason) == (code, reason)
    assert info(status).domain == "claude-grpc"


def test_every_error_that_a_call_can_raise_has_a_row() -> None:
    concrete = {
        cls
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, GatewayError) and not cls.__subclasses__()
    }
    assert concrete == {type(row[0]) for row in OWN} | {UpstreamStatusError, errors.SchemaError}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 1.0),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1.0),
        ({"retry-after": "nan"}, 1.0),
        ({"retry-after": "-1"}, 1.0),
        ({"retry-after": "inf"}, 1.0),
    ],
)
def test_a_retry_is_advised_when_upstream_says_so(headers: dict[str, str], seconds: float) -> None:
    status = status_of(answered(529, "overloaded_error", **headers))
    retry = details(status)["RetryInfo"]
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == seconds * 1000
    assert status.trailers["grpc-retry-pushback-ms"] == str(int(seconds * 1000))


def test_a_date_is_advice_as_well() -> None:
    at = formatdate(time.time() + 100, usegmt=True)
    retry = details(status_of(answered(529, "overloaded_error", **{"retry-after": at})))["RetryInfo"]
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert 90 < retry.retry_delay.ToSeconds() <= 100


@pytest.mark.parametrize(("http_status", "asked", "advised"), [(529, "false", False), (500, "true", True)])
def test_upstreams_word_on_retries_is_over_the_table(http_status: int, asked: str, advised: bool) -> None:
    status = status_of(answered(http_status, "", **{"x-should-retry": asked}))
    assert ("RetryInfo" in details(status)) is advised
    assert info(status).metadata["safeToRetry"] == str(advised).lower()


def test_an_open_breaker_says_when_it_lets_calls_through() -> None:
    status = status_of(BreakerOpenError("x", retry_after=2.5))
    retry = details(status)["RetryInfo"]
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == 2500
    assert status.trailers["grpc-retry-pushback-ms"] == "2500"


@pytest.mark.parametrize(("phase", "safe"), [("connect", True), ("pool", True), ("write", True), ("read", False)])
def test_only_what_upstream_has_taken_may_have_been_billed(phase: str, safe: bool) -> None:
    status = status_of(UpstreamTimeoutError("x", phase=phase))
    assert status.code is Code.UNAVAILABLE
    assert status.reason == ("UPSTREAM_UNAVAILABLE" if safe else "UPSTREAM_TIMEOUT")
    assert (status.trailers["grpc-retry-pushback-ms"] == "-1") is not safe


def test_what_was_tried_is_told() -> None:
    context = UpstreamContext(attempts=3, retries=("529", "connect"), model="m", fallback="overloaded")
    metadata = info(status_of(UpstreamConnectionError("x", context))).metadata
    assert (metadata["attempts"], metadata["retries"]) == ("3", "529,connect")
    assert (metadata["model"], metadata["fallback"]) == ("m", "overloaded")


def test_no_retry_is_advised_after_the_first_event() -> None:
    error = UpstreamStatusError(
        "x", http_status=200, error_type="overloaded_error", context=UpstreamContext(partial=True)
    )
    status = status_of(error)
    assert "RetryInfo" not in details(status)
    assert info(status).metadata["safeToRetry"] == "false"
    assert status.trailers["grpc-retry-pushback-ms"] == "-1"


def test_quotas_come_from_the_rate_limit_headers() -> None:
    quota = details(
        status_of(answered(429, "", **{"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-x": "y"}))
    )["QuotaFailure"]
    assert isinstance(quota, error_details_pb2.QuotaFailure)
    assert [(v.subject, v.description) for v in quota.violations] == [
        ("anthropic-ratelimit-tokens-remaining", "0 remaining")
    ]


@pytest.mark.parametrize("http_status", [400, 402, 404, 429, 529])
def test_the_worst_case_fits_into_trailers(http_status: int) -> None:
    context = UpstreamContext(
        request_id="r" * 9000,
        attempts=9,
        retries=("overloaded_error",) * 90,
        model="m" * 9000,
        fallback="overloaded",
        headers={f"anthropic-ratelimit-{n}-remaining": "9" * 900 for n in range(90)} | {"retry-after": "5"},
    )
    error = UpstreamStatusError("é" * 9000, http_status=http_status, error_code="c" * 900, context=context)
    status = status_of(error)
    assert len(status.trailers["grpc-status-details-bin"]) <= MAX_DETAILS_BYTES
    assert len(status.message.encode()) <= MAX_MESSAGE_BYTES


def test_too_many_violations_are_cut_and_said_to_be() -> None:
    status = status_of(InvalidRequestError([Violation(f"a[{n}]", "x" * 600) for n in range(1000)]))
    assert len(status.trailers["grpc-status-details-bin"]) <= MAX_DETAILS_BYTES
    bad = details(status)["BadRequest"]
    assert isinstance(bad, error_details_pb2.BadRequest)
    assert bad.field_violations[0].field == "a[0]"
    assert info(status).metadata["truncated"] == "true"


def test_a_bug_says_nothing_but_an_id() -> None:
    status, error_id = bug_status()
    assert status.code is Code.INTERNAL
    assert error_id in status.message
    assert info(status).metadata == {"errorId": error_id}


def test_an_upstream_error_without_a_class_of_its_own_is_none_of_the_tree() -> None:
    assert {cls.__name__ for cls in UpstreamError.__subclasses__()} == {
        "UpstreamStatusError",
        "UpstreamConnectionError",
        "UpstreamTimeoutError",
        "UpstreamProtocolError",
        "StreamInterruptedError",
        "BreakerOpenError",
        "DeadlineExceededError",
    }
