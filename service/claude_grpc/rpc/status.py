"""The one table from errors to gRPC status codes, and the details that go with them.

What the API says of its error decides before the HTTP status: ``error_code``, then ``error.type``. What goes out is
bounded: trailers beyond about 8 KB fail at random on their way, so a message has at most 1 KiB and the details 4 KiB.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from claude_grpc.errors import (
    DrainingError,
    GatewayError,
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
)

__all__ = ["RpcStatus", "bug_status", "status_of"]

MAX_MESSAGE_BYTES = 1024
MAX_DETAILS_BYTES = 4096

_OWN_DOMAIN = "claude-grpc"
_UPSTREAM_DOMAIN = "api.anthropic.com"

Code = grpc.StatusCode


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the table.

    Attributes:
        reason: For ``ErrorInfo.reason``.
        retryable: Whether the same call may succeed in a while, and nothing has been billed for it.
    """

    code: grpc.StatusCode
    reason: str
    retryable: bool = False


_INVALID = _Row(Code.INVALID_ARGUMENT, "INVALID_REQUEST")
_TOO_LARGE = _Row(Code.INVALID_ARGUMENT, "REQUEST_TOO_LARGE")
_TIMEOUT = _Row(Code.UNAVAILABLE, "UPSTREAM_TIMEOUT")
_UNREACHABLE = _Row(Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", retryable=True)
_OVERLOADED = _Row(Code.UNAVAILABLE, "OVERLOADED", retryable=True)
_API_ERROR = _Row(Code.INTERNAL, "API_ERROR")

_OUT_OF_RANGE = _Row(Code.OUT_OF_RANGE, "OUT_OF_RANGE")

_BY_CODE: Mapping[str, _Row] = {
    "file_expired": _Row(Code.NOT_FOUND, "FILE_EXPIRED"),
    "file_not_downloadable": _Row(Code.FAILED_PRECONDITION, "FILE_NOT_DOWNLOADABLE"),
    "storage_quota_exceeded": _Row(Code.FAILED_PRECONDITION, "STORAGE_QUOTA_EXCEEDED"),
}

_BY_TYPE: Mapping[str, _Row] = {
    "invalid_request_error": _INVALID,
    "request_too_large": _TOO_LARGE,
    "authentication_error": _Row(Code.UNAUTHENTICATED, "AUTHENTICATION"),
    "billing_error": _Row(Code.FAILED_PRECONDITION, "BILLING"),
    "permission_error": _Row(Code.PERMISSION_DENIED, "PERMISSION"),
    "not_found_error": _Row(Code.NOT_FOUND, "NOT_FOUND"),
    "conflict_error": _Row(Code.ABORTED, "CONFLICT"),
    "rate_limit_error": _Row(Code.RESOURCE_EXHAUSTED, "RATE_LIMIT", retryable=True),
    "timeout_error": _TIMEOUT,
    "api_error": _API_ERROR,
    "overloaded_error": _OVERLOADED,
}

_BY_HTTP_STATUS: Mapping[int, _Row] = {
    400: _INVALID,
    401: _BY_TYPE["authentication_error"],
    402: _BY_TYPE["billing_error"],
    403: _BY_TYPE["permission_error"],
    404: _BY_TYPE["not_found_error"],
    408: _TIMEOUT,
    409: _BY_TYPE["conflict_error"],
    410: _Row(Code.NOT_FOUND, "GONE"),
    412: _Row(Code.FAILED_PRECONDITION, "PRECONDITION"),
    413: _TOO_LARGE,
    416: _OUT_OF_RANGE,
    422: _INVALID,
    429: _BY_TYPE["rate_limit_error"],
    502: _UNREACHABLE,
    503: _UNREACHABLE,
    504: _TIMEOUT,
    529: _OVERLOADED,
}

_BY_CLASS: Mapping[type[GatewayError], _Row] = {
    InvalidRequestError: _INVALID,
    RequestTooLargeError: _TOO_LARGE,
    OutOfRangeError: _OUT_OF_RANGE,
    NotFoundError: _Row(Code.NOT_FOUND, "NOT_FOUND"),
    DrainingError: _Row(Code.UNAVAILABLE, "DRAINING", retryable=True),
    UpstreamConnectionError: _UNREACHABLE,
    UpstreamTimeoutError: _TIMEOUT,
    UpstreamProtocolError: _Row(Code.INTERNAL, "UPSTREAM_PROTOCOL"),
    StreamInterruptedError: _Row(Code.UNAVAILABLE, "STREAM_INTERRUPTED"),
}


@dataclass(frozen=True, slots=True)
class RpcStatus:
    """How a failed call ends.

    Attributes:
        trailers: To be sent with it, ``grpc-status-details-bin`` among them.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    trailers: Mapping[str, str | bytes] = field(default_factory=dict)


def status_of(error: RequestError | RefusedError | UpstreamError) -> RpcStatus:
    """The status for an error that a call can raise."""
    row = _row(error)
    context = error.context if isinstance(error, UpstreamError) else UpstreamContext()
    if isinstance(error, RefusedError):
        context, delay = UpstreamContext(partial=error.partial), error.retry_after
        retryable = delay is not None
    else:
        retryable = row.retryable and not context.partial
        delay = _retry_delay(context) if retryable else None
    info = error_details_pb2.ErrorInfo(
        reason=row.reason,
        domain=_UPSTREAM_DOMAIN if isinstance(error, UpstreamStatusError) else _OWN_DOMAIN,
        metadata=_info_metadata(error, context, retryable),
    )
    message = _clip(str(error), MAX_MESSAGE_BYTES)
    return _status(row.code, message, info, list(_details(error, context, delay)), delay)


def bug_status() -> tuple[RpcStatus, str]:
    """The status for an error that is nobody's but ours, and the id under which the log has it."""
    error_id = uuid.uuid4().hex
    info = error_details_pb2.ErrorInfo(reason="INTERNAL", domain=_OWN_DOMAIN, metadata={"errorId": error_id})
    message = f"Internal error of the gateway; its log has more under {error_id}."
    return _status(Code.INTERNAL, message, info, [], None), error_id


def _row(error: GatewayError) -> _Row:
    if isinstance(error, UpstreamStatusError):
        by_word = _BY_CODE.get(error.error_code) or _BY_TYPE.get(error.error_type)
        fallback = _INVALID if 400 <= error.http_status < 500 else _API_ERROR  # noqa: PLR2004 # the classes of HTTP
        return by_word or _BY_HTTP_STATUS.get(error.http_status) or fallback
    for cls in type(error).__mro__:
        if cls in _BY_CLASS:
            return _BY_CLASS[cls]
    raise error


def _status(
    code: grpc.StatusCode, message: str, info: error_details_pb2.ErrorInfo, more: list[Message], delay: float | None
) -> RpcStatus:
    trailers: dict[str, str | bytes] = {
        "grpc-status-details-bin": _bounded(code, message, info, more),
        # What a stub's own retry obeys, if it retries this code at all: when, or -1 for never.
        "grpc-retry-pushback-ms": "-1" if delay is None else str(int(delay * 1000)),
    }
    return RpcStatus(code, info.reason, message, trailers)


def _bounded(code: grpc.StatusCode, message: str, info: error_details_pb2.ErrorInfo, more: list[Message]) -> bytes:
    """The details as `google.rpc.Status`, shortened until they fit: first violations go, then details from the end."""
    while True:
        status = status_pb2.Status(code=code.value[0], message=message)
        for detail in (info, *more):
            status.details.add().Pack(detail)
        encoded: bytes = status.SerializeToString(deterministic=True)
        if len(encoded) <= MAX_DETAILS_BYTES:
            return encoded
        info.metadata["truncated"] = "true"
        last = more[-1]
        if isinstance(last, error_details_pb2.BadRequest) and len(last.field_violations) > 1:
            del last.field_violations[len(last.field_violations) // 2 :]
        else:
            more = more[:-1]


def _info_metadata(error: GatewayError, context: UpstreamContext, retryable: bool) -> dict[str, str]:
    facts = {"safeToRetry": "true" if retryable else "false", "partial": "true" if context.partial else "false"}
    if isinstance(error, UpstreamError):
        facts["requestId"] = context.request_id
        facts["attempts"] = str(context.attempts)
    if isinstance(error, UpstreamStatusError):
        facts |= {"httpStatus": str(error.http_status), "errorType": error.error_type, "errorCode": error.error_code}
    return {key: _clip(value, 256) for key, value in facts.items() if value}


def _details(error: GatewayError, context: UpstreamContext, delay: float | None) -> Iterator[Message]:
    if context.request_id:
        yield error_details_pb2.RequestInfo(request_id=_clip(context.request_id, 256))
    if delay is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMicroseconds(int(delay * 1_000_000))
        yield retry
    match error:
        case InvalidRequestError():
            yield _bad_request((v.field, v.description) for v in error.violations)
        case RequestTooLargeError():
            yield _bad_request([(error.field, str(error))])
        case OutOfRangeError():
            yield _bad_request([(error.field, str(error))])
        case UpstreamStatusError():
            yield from _upstream_details(error, context)
        case _:
            pass


def _upstream_details(error: UpstreamStatusError, context: UpstreamContext) -> Iterator[Message]:
    message = _clip(str(error), MAX_MESSAGE_BYTES)
    match _row(error).code:
        case Code.INVALID_ARGUMENT:
            # The API's texts begin with the path of what is wrong: "messages.0.content: …".
            path, separator, rest = message.partition(": ")
            found = bool(separator) and " " not in path
            yield _bad_request([(path, rest) if found else ("params", message)])
        case Code.RESOURCE_EXHAUSTED:
            quota = error_details_pb2.QuotaFailure()
            for key, value in sorted(context.headers.items()):
                if key.startswith("anthropic-ratelimit-") and key.endswith("-remaining"):
                    quota.violations.add(subject=key, description=f"{_clip(value, 64)} remaining")
            yield quota
        case Code.FAILED_PRECONDITION:
            failure = error_details_pb2.PreconditionFailure()
            kind = error.error_code or error.error_type or "precondition"
            failure.violations.add(type=_clip(kind, 256), description=message)
            yield failure
        case Code.NOT_FOUND:
            yield error_details_pb2.ResourceInfo(description=message)
        case _:
            pass


def _bad_request(violations: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> error_details_pb2.BadRequest:
    details = error_details_pb2.BadRequest()
    for path, description in violations:
        details.field_violations.add(field=_clip(path, 256), description=_clip(description, 512))
    return details


def _retry_delay(context: UpstreamContext) -> float:
    """Seconds after which another call may succeed: upstream's word, else one second."""
    for key, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            delay = float(context.headers[key]) * scale
        except (KeyError, ValueError):
            continue
        if 0 < delay < 4_000_000:  # noqa: PLR2004 # inf, nan and centuries are no advice
            return delay
    return 1.0


def _clip(text: str, size: int) -> str:
    encoded = text.encode()
    return text if len(encoded) <= size else encoded[: size - 3].decode(errors="ignore") + "…"
