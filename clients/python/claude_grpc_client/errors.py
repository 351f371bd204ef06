"""Every error a call can end with, as one tree, and how it is read from the status the gateway sent.

::

    ClaudeError                     also itself, for codes that have no class of their own
    ├── InvalidRequestError         INVALID_ARGUMENT: violations say what is wrong, and where
    ├── AuthenticationError         UNAUTHENTICATED
    ├── PermissionDeniedError       PERMISSION_DENIED
    ├── NotFoundError               NOT_FOUND
    ├── FailedPreconditionError     FAILED_PRECONDITION: billing, mostly
    ├── ConflictError               ABORTED
    ├── RateLimitedError            RESOURCE_EXHAUSTED; without a reason it is gRPC's own: a message over a size limit
    ├── UnavailableError            UNAVAILABLE; without a reason no gateway has answered
    ├── DeadlineExceededError       DEADLINE_EXCEEDED
    ├── CallCancelledError          CANCELLED, by the gateway or by closing the client or the stream
    ├── UnimplementedError          UNIMPLEMENTED: a gateway older than this client
    └── InternalError               INTERNAL

This module decides nothing: whether and when to try again is the caller's business, with ``safe_to_retry`` and
``retry_delay`` at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError

# googleapis-common-protos comes without a py.typed marker.
from google.rpc import error_details_pb2, status_pb2

__all__ = [
    "AuthenticationError",
    "CallCancelledError",
    "ClaudeError",
    "ConflictError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "InternalError",
    "InvalidRequestError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitedError",
    "UnavailableError",
    "UnimplementedError",
    "from_rpc_error",
    "text_trailers",
]


class ClaudeError(Exception):
    """A call that did not end with OK.

    Attributes:
        message: What happened, in a sentence for people.
        code: The gRPC code.
        reason: What happened, in a word for programs, such as ``OVERLOADED``; empty if the gateway did not say.
        request_id: The Claude API's id of the request; empty if it was not reached.
        retry_delay: Seconds to wait before another attempt, if that was said.
        partial: Whether events of the answer had come before.
        safe_to_retry: Whether the gateway knows that nothing was done or billed.
        attempts: HTTP requests the gateway made for the call; 0 if unknown.
        http_status: Status of the Claude API's response, if there was one.
        error_type: The Claude API's own ``error.type``, such as ``overloaded_error``.
        violations: What is wrong with the request: pairs of a field's path and a description.
        metadata: All that ``ErrorInfo`` says beside its reason, by the names it uses.
        trailers: The response's trailers, such as ``anthropic-ratelimit-*``, without binary ones.
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        reason: str = "",
        request_id: str = "",
        retry_delay: float | None = None,
        partial: bool = False,
        safe_to_retry: bool = False,
        attempts: int = 0,
        http_status: int | None = None,
        error_type: str = "",
        violations: Iterable[tuple[str, str]] = (),
        metadata: Mapping[str, str] | None = None,
        trailers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.request_id = request_id
        self.retry_delay = retry_delay
        self.partial = partial
        self.safe_to_retry = safe_to_retry
        self.attempts = attempts
        self.http_status = http_status
        self.error_type = error_type
        self.violations = tuple(violations)
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.trailers: Mapping[str, str] = dict(trailers or {})

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        request = f" [{self.request_id}]" if self.request_id else ""
        return f"{self.code.name}{reason}: {self.message}{request}"


class InvalidRequestError(ClaudeError):
    """The request is wrong; the same again cannot succeed."""


class AuthenticationError(ClaudeError):
    """The key or token is missing or not valid."""


class PermissionDeniedError(ClaudeError):
    """The key or token may not do this."""


class NotFoundError(ClaudeError):
    """The model, or another thing the request names, does not exist."""


class FailedPreconditionError(ClaudeError):
    """The account is not in a state to do this, such as without credit."""


class ConflictError(ClaudeError):
    """Another request got in the way."""


class RateLimitedError(ClaudeError):
    """A limit was met; ``retry_delay`` says when it is over. Without a ``reason`` the limit was a message's size."""


class UnavailableError(ClaudeError):
    """The Claude API or the gateway cannot answer now."""


class DeadlineExceededError(ClaudeError):
    """The call's ``timeout`` has passed."""


class CallCancelledError(ClaudeError):
    """The call was cancelled, but not by cancelling the task or thread that waits for it."""


class UnimplementedError(ClaudeError):
    """The gateway does not know the method."""


class InternalError(ClaudeError):
    """The Claude API or the gateway is broken, or has broken its contract."""


_BY_CODE: dict[grpc.StatusCode, type[ClaudeError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.UNAUTHENTICATED: AuthenticationError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RateLimitedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.CANCELLED: CallCancelledError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
    grpc.StatusCode.INTERNAL: InternalError,
}

_DETAIL_KINDS = (
    error_details_pb2.BadRequest,
    error_details_pb2.ErrorInfo,
    error_details_pb2.RequestInfo,
    error_details_pb2.RetryInfo,
)


def from_rpc_error(error: grpc.RpcError, *, partial: bool = False) -> ClaudeError:
    """Return the exception for an error of a grpc or grpc.aio call.

    ``partial`` is what the caller saw itself: a connection that breaks takes the gateway's own word with it.
    """
    trailing = list(error.trailing_metadata() or ())
    trailers = text_trailers(trailing)
    details = _details(trailing)
    info = details.get("ErrorInfo", error_details_pb2.ErrorInfo())
    facts = info.metadata
    code = error.code()
    return _BY_CODE.get(code, ClaudeError)(
        error.details() or "",
        code=code,
        reason=info.reason,
        request_id=_request_id(details, trailers),
        retry_delay=_retry_delay(details),
        partial=partial or facts.get("partial") == "true",
        safe_to_retry=not partial and facts.get("safeToRetry") == "true",
        attempts=_number(facts.get("attempts", "")) or 0,
        http_status=_number(facts.get("httpStatus", "")),
        error_type=facts.get("errorType", ""),
        violations=_violations(details),
        metadata=facts,
        trailers=trailers,
    )


def text_trailers(trailing: Iterable[Any]) -> dict[str, str]:
    """Return the trailers of a call that are text, by name; of a name that stands twice, the last."""
    return {key: value for key, value in trailing if isinstance(value, str)}


def _details(trailing: Iterable[Any]) -> dict[str, Any]:
    """Return the ``google.rpc`` details of a status by the name of their message."""
    raw = dict(trailing).get("grpc-status-details-bin", b"")
    found: dict[str, Any] = {}
    try:
        for packed in status_pb2.Status.FromString(raw).details:
            for kind in _DETAIL_KINDS:
                if packed.Is(kind.DESCRIPTOR):
                    found[kind.DESCRIPTOR.name] = kind.FromString(packed.value)
    except DecodeError:
        # A proxy has cut or replaced the trailer. The code and the message still stand, and must not be lost to this.
        return found
    return found


def _request_id(details: Mapping[str, Any], trailers: Mapping[str, str]) -> str:
    info = details.get("ErrorInfo", error_details_pb2.ErrorInfo())
    request = details.get("RequestInfo", error_details_pb2.RequestInfo())
    return info.metadata.get("requestId") or request.request_id or trailers.get("request-id", "")


def _retry_delay(details: Mapping[str, Any]) -> float | None:
    if "RetryInfo" not in details:
        return None
    delay = details["RetryInfo"].retry_delay
    return float(delay.seconds + delay.nanos / 1e9)


def _violations(details: Mapping[str, Any]) -> list[tuple[str, str]]:
    request = details.get("BadRequest", error_details_pb2.BadRequest())
    return [(violation.field, violation.description) for violation in request.field_violations]


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
