from __future__ import annotations

import pickle
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

import claude_grpc_client
from claude_grpc_client import ClaudeError, from_rpc_error

CLASSES = {
    grpc.StatusCode.ABORTED: claude_grpc_client.ConflictError,
    grpc.StatusCode.CANCELLED: claude_grpc_client.CallCancelledError,
    grpc.StatusCode.DEADLINE_EXCEEDED: claude_grpc_client.DeadlineExceededError,
    grpc.StatusCode.FAILED_PRECONDITION: claude_grpc_client.FailedPreconditionError,
    grpc.StatusCode.INTERNAL: claude_grpc_client.InternalError,
    grpc.StatusCode.INVALID_ARGUMENT: claude_grpc_client.InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: claude_grpc_client.NotFoundError,
    grpc.StatusCode.PERMISSION_DENIED: claude_grpc_client.PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: claude_grpc_client.RateLimitedError,
    grpc.StatusCode.UNAUTHENTICATED: claude_grpc_client.AuthenticationError,
    grpc.StatusCode.UNAVAILABLE: claude_grpc_client.UnavailableError,
    grpc.StatusCode.UNIMPLEMENTED: claude_grpc_client.UnimplementedError,
}


def rpc_error(*details: Message, code: Any = grpc.StatusCode.UNAVAILABLE, trailers: Any = ()) -> aio.AioRpcError:
    trailing = aio.Metadata(*trailers)
    if details:
        status = status_pb2.Status()
        for detail in details:
            packed = PackedAny()
            packed.Pack(detail)
            status.details.append(packed)
        trailing.add("grpc-status-details-bin", status.SerializeToString())
    return aio.AioRpcError(code, aio.Metadata(), trailing, details="It failed.")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_code_has_its_class(code: grpc.StatusCode) -> None:
    error = from_rpc_error(rpc_error(code=code))
    assert type(error) is CLASSES.get(code, ClaudeError)
    assert error.code is code


def test_all_details_are_decoded() -> None:
    facts = {
        "requestId": "req_1",
        "httpStatus": "529",
        "errorType": "overloaded_error",
        "attempts": "3",
        "partial": "true",
        "safeToRetry": "true",
        "newer": "kept",
    }
    violation = error_details_pb2.BadRequest.FieldViolation(field="params.model", description="Must be set.")
    error = from_rpc_error(
        rpc_error(
            error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="api.anthropic.com", metadata=facts),
            error_details_pb2.RetryInfo(retry_delay={"seconds": 2, "nanos": 250_000_000}),
            error_details_pb2.BadRequest(field_violations=[violation]),
            error_details_pb2.QuotaFailure(),
            trailers=[("anthropic-ratelimit-requests-remaining", "0")],
        )
    )
    assert error.message == "It failed."
    assert error.reason == "OVERLOADED"
    assert error.request_id == "req_1"
    assert error.http_status == 529
    assert error.error_type == "overloaded_error"
    assert error.attempts == 3
    assert error.partial is True
    assert error.safe_to_retry is True
    assert error.retry_delay == 2.25
    assert error.violations == (("params.model", "Must be set."),)
    assert error.metadata == facts
    assert error.trailers == {"anthropic-ratelimit-requests-remaining": "0"}


def test_without_details_nothing_is_made_up() -> None:
    error = from_rpc_error(rpc_error())
    assert (error.reason, error.request_id, error.error_type) == ("", "", "")
    assert (error.partial, error.safe_to_retry, error.attempts) == (False, False, 0)
    assert error.retry_delay is None
    assert error.http_status is None
    assert error.violations == ()
    assert error.metadata == {}
    assert error.trailers == {}


def test_a_cut_details_trailer_leaves_code_message_and_request_id() -> None:
    trailers = [("grpc-status-details-bin", b"\xff\xff"), ("request-id", "req_2")]
    error = from_rpc_error(rpc_error(trailers=trailers))
    assert isinstance(error, claude_grpc_client.UnavailableError)
    assert error.message == "It failed."
    assert error.request_id == "req_2"
    assert error.trailers == {"request-id": "req_2"}


@pytest.mark.parametrize(
    ("details", "trailers", "request_id"),
    [
        ([error_details_pb2.ErrorInfo(metadata={"requestId": "a"})], [("request-id", "c")], "a"),
        ([error_details_pb2.ErrorInfo(), error_details_pb2.RequestInfo(request_id="b")], [("request-id", "c")], "b"),
        ([error_details_pb2.ErrorInfo()], [("request-id", "c")], "c"),
    ],
    ids=["ErrorInfo", "RequestInfo", "trailer"],
)
def test_the_request_id_comes_from_the_first_that_has_it(details: Any, trailers: Any, request_id: str) -> None:
    assert from_rpc_error(rpc_error(*details, trailers=trailers)).request_id == request_id


def test_facts_that_are_no_numbers_are_left_in_the_metadata() -> None:
    error = from_rpc_error(rpc_error(error_details_pb2.ErrorInfo(metadata={"httpStatus": "n/a", "attempts": "-1"})))
    assert error.http_status is None
    assert error.attempts == 0
    assert error.metadata == {"httpStatus": "n/a", "attempts": "-1"}


def test_what_the_caller_saw_overrules_what_was_said() -> None:
    said = error_details_pb2.ErrorInfo(metadata={"partial": "false", "safeToRetry": "true"})
    error = from_rpc_error(rpc_error(said), partial=True)
    assert error.partial is True
    assert error.safe_to_retry is False


def test_an_error_says_code_reason_message_and_request_id() -> None:
    info = error_details_pb2.ErrorInfo(reason="OVERLOADED", metadata={"requestId": "req_1"})
    assert str(from_rpc_error(rpc_error(info))) == "UNAVAILABLE (OVERLOADED): It failed. [req_1]"
    assert str(from_rpc_error(rpc_error())) == "UNAVAILABLE: It failed."


def test_an_error_survives_the_way_to_another_process() -> None:
    error = from_rpc_error(rpc_error(error_details_pb2.ErrorInfo(reason="OVERLOADED", metadata={"attempts": "2"})))
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - made on this line
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


def test_what_the_package_exports_is_sorted_and_there() -> None:
    names = claude_grpc_client.__all__
    assert sorted(names) == names
    assert all(hasattr(claude_grpc_client, name) for name in names)
