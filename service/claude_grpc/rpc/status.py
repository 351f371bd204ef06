"""How an error goes out: the status of its row in ``table``, and the details that go with it.

All of it is bounded: trailers beyond about 8 KB fail at random on their way, so a message has at most 1 KiB and the
details 4 KiB.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from claude_grpc.errors import (
    BreakerOpenError,
    GatewayError,
    InvalidRequestError,
    OutOfRangeError,
    RefusedError,
    RequestError,
    RequestTooLargeError,
    UpstreamContext,
    UpstreamError,
    UpstreamStatusError,
)
from claude_grpc.rpc.table import Row, row_of
from claude_grpc.upstream import asked_wait

__all__ = ["RpcStatus", "bug_status", "status_of"]

MAX_MESSAGE_BYTES = 1024
MAX_DETAILS_BYTES = 4096
_NO_ADVICE = 4_000_000  # seconds: centuries are none, nor is inf

_OWN_DOMAIN = "claude-grpc"
_UPSTREAM_DOMAIN = "api.anthropic.com"

Code = grpc.StatusCode


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
    row = row_of(error)
    context = error.context if isinstance(error, UpstreamError) else UpstreamContext()
    if isinstance(error, RefusedError):
        context, delay = UpstreamContext(partial=error.partial), error.retry_after
        retryable = delay is not None
    else:
        retryable = _is_retryable(row, context)
        delay = _retry_delay(error, context) if retryable else None
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
        facts |= {"retries": ",".join(context.retries), "model": context.model, "fallback": context.fallback}
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
    match row_of(error).code:
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


def _is_retryable(row: Row, context: UpstreamContext) -> bool:
    asked = context.headers.get("x-should-retry")
    return not context.partial and (asked == "true" if asked in {"true", "false"} else row.retryable)


def _retry_delay(error: GatewayError, context: UpstreamContext) -> float:
    """Seconds after which another call may succeed: the breaker's or upstream's word, else one second."""
    if isinstance(error, BreakerOpenError):
        return error.retry_after
    delay = asked_wait(context.headers, time.time())
    return delay if delay is not None and delay < _NO_ADVICE else 1.0


def _clip(text: str, size: int) -> str:
    encoded = text.encode()
    return text if len(encoded) <= size else encoded[: size - 3].decode(errors="ignore") + "…"
