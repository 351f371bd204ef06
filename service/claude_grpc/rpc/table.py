"""The one table from errors to gRPC status codes and reasons.

Of what the API's answer says, ``error_code`` decides before ``error.type``, and that before the HTTP status. Two types
are so general that every status says more: `invalid_request_error` and `api_error`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from claude_grpc.errors import (
    BreakerOpenError,
    DeadlineExceededError,
    DrainingError,
    GatewayError,
    GatewayOverloadedError,
    InvalidRequestError,
    NotFoundError,
    OutOfRangeError,
    RequestTooLargeError,
    StreamInterruptedError,
    UpstreamConnectionError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)

__all__ = ["Row", "row_of"]

Code = grpc.StatusCode


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    Attributes:
        reason: For ``ErrorInfo.reason``.
        retryable: Whether the same call may succeed in a while, and nothing has been billed for it.
    """

    code: grpc.StatusCode
    reason: str
    retryable: bool = False


_INVALID = Row(Code.INVALID_ARGUMENT, "INVALID_REQUEST")
_TOO_LARGE = Row(Code.INVALID_ARGUMENT, "REQUEST_TOO_LARGE")
_PRECONDITION = Row(Code.FAILED_PRECONDITION, "PRECONDITION")
_NOT_FOUND = Row(Code.NOT_FOUND, "NOT_FOUND")
_OUT_OF_RANGE = Row(Code.OUT_OF_RANGE, "OUT_OF_RANGE")
_CONFLICT = Row(Code.ABORTED, "CONFLICT")
_RATE_LIMIT = Row(Code.RESOURCE_EXHAUSTED, "RATE_LIMIT", retryable=True)
# Unlike a rate limit it is not over in a minute.
_SPEND_LIMIT = Row(Code.RESOURCE_EXHAUSTED, "SPEND_LIMIT")
_NOT_IMPLEMENTED = Row(Code.UNIMPLEMENTED, "NOT_IMPLEMENTED")
_TIMEOUT = Row(Code.UNAVAILABLE, "UPSTREAM_TIMEOUT")
_UNREACHABLE = Row(Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", retryable=True)
_OVERLOADED = Row(Code.UNAVAILABLE, "OVERLOADED", retryable=True)
_API_ERROR = Row(Code.INTERNAL, "API_ERROR")

# Codes whose type or status would say the wrong thing.
_BY_CODE: Mapping[str, Row] = {
    # 400, but nothing about the request is wrong: what it is about is in the wrong state.
    "claude_code_key_creator_not_member": _PRECONDITION,
    "claude_code_version_too_old": _PRECONDITION,
    "cmek_feature_unsupported": _PRECONDITION,
    "cmek_key_disabled": _PRECONDITION,
    "cmek_key_network_blocked": _PRECONDITION,
    "environment_archived": _PRECONDITION,
    "file_not_downloadable": Row(Code.FAILED_PRECONDITION, "FILE_NOT_DOWNLOADABLE"),
    "organization_not_enrolled_in_beta": _PRECONDITION,
    "organization_on_hold": _PRECONDITION,
    "organization_type_not_supported": _PRECONDITION,
    "parent_organization_required": _PRECONDITION,
    "scan_failed": _PRECONDITION,
    "thread_already_continued": _PRECONDITION,
    # 400, too.
    "request_body_timeout": Row(Code.UNAVAILABLE, "REQUEST_BODY_TIMEOUT", retryable=True),
    "storage_quota_exceeded": Row(Code.RESOURCE_EXHAUSTED, "STORAGE_QUOTA"),
    "thread_continue_in_flight": _CONFLICT,
    "user_profile_not_found": _NOT_FOUND,
    # 409, but it is no race that another attempt would win.
    "plugin_name_taken": Row(Code.ALREADY_EXISTS, "NAME_TAKEN"),
    "skill_name_taken": Row(Code.ALREADY_EXISTS, "NAME_TAKEN"),
    "skill_read_blocked_undecryptable": _PRECONDITION,
    "contract_spend_limit_reached": _SPEND_LIMIT,
    "enforced_spend_limit_reached": _SPEND_LIMIT,
    # 404, but it was there.
    "file_expired": Row(Code.NOT_FOUND, "FILE_EXPIRED"),
    # Of whatever type: they pass.
    "cmek_context_unavailable": _UNREACHABLE,
    "cmek_key_unreachable": _UNREACHABLE,
    "compaction_unavailable": _OVERLOADED,
}

_BY_TYPE: Mapping[str, Row] = {
    "authentication_error": Row(Code.UNAUTHENTICATED, "AUTHENTICATION"),
    "billing_error": Row(Code.FAILED_PRECONDITION, "BILLING"),
    "conflict_error": _CONFLICT,
    "memory_path_conflict_error": _CONFLICT,
    "memory_precondition_failed_error": _PRECONDITION,
    "not_found_error": _NOT_FOUND,
    "overloaded_error": _OVERLOADED,
    "permission_error": Row(Code.PERMISSION_DENIED, "PERMISSION"),
    "rate_limit_error": _RATE_LIMIT,
    "request_too_large": _TOO_LARGE,
    "timeout_error": _TIMEOUT,
}

_BY_HTTP_STATUS: Mapping[int, Row] = {
    401: _BY_TYPE["authentication_error"],
    402: _BY_TYPE["billing_error"],
    403: _BY_TYPE["permission_error"],
    404: _NOT_FOUND,
    405: _NOT_IMPLEMENTED,
    408: _TIMEOUT,
    409: _CONFLICT,
    410: Row(Code.NOT_FOUND, "GONE"),
    412: _PRECONDITION,
    413: _TOO_LARGE,
    416: _OUT_OF_RANGE,
    429: _RATE_LIMIT,
    431: _TOO_LARGE,
    499: Row(Code.CANCELLED, "CLIENT_CLOSED_REQUEST"),
    501: _NOT_IMPLEMENTED,
    502: _UNREACHABLE,
    503: _UNREACHABLE,
    504: _TIMEOUT,
    529: _OVERLOADED,
}

_BY_CLASS: Mapping[type[GatewayError], Row] = {
    InvalidRequestError: _INVALID,
    RequestTooLargeError: _TOO_LARGE,
    OutOfRangeError: _OUT_OF_RANGE,
    NotFoundError: _NOT_FOUND,
    GatewayOverloadedError: Row(Code.UNAVAILABLE, "GATEWAY_OVERLOADED", retryable=True),
    DrainingError: Row(Code.UNAVAILABLE, "DRAINING", retryable=True),
    UpstreamConnectionError: _UNREACHABLE,
    UpstreamTimeoutError: _TIMEOUT,
    UpstreamProtocolError: Row(Code.INTERNAL, "UPSTREAM_PROTOCOL"),
    StreamInterruptedError: Row(Code.UNAVAILABLE, "STREAM_INTERRUPTED"),
    BreakerOpenError: Row(Code.UNAVAILABLE, "BREAKER_OPEN", retryable=True),
    DeadlineExceededError: Row(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
}


def row_of(error: GatewayError) -> Row:
    """The row of an error; an error that no call can raise has none, and is raised."""
    if isinstance(error, UpstreamStatusError):
        return _row_of_answer(error)
    if isinstance(error, UpstreamTimeoutError) and error.phase != "read":
        return _UNREACHABLE
    for cls in type(error).__mro__:
        if cls in _BY_CLASS:
            return _BY_CLASS[cls]
    raise error


def _row_of_answer(error: UpstreamStatusError) -> Row:
    row = _BY_CODE.get(error.error_code) or _BY_TYPE.get(error.error_type) or _BY_HTTP_STATUS.get(error.http_status)
    if row is not None:
        return row
    is_callers = error.error_type == "invalid_request_error" or 400 <= error.http_status < 500  # noqa: PLR2004 # HTTP
    return _INVALID if is_callers else _API_ERROR
