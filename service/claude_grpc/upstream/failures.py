"""From what HTTP says to what the gateway knows: one context for each answer, one error for each way to fail.

The texts of errors are fixed here, but for the message of the Claude API itself: no exception's text, and no body that
is not the API's own JSON, passes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import httpx

from claude_grpc.errors import (
    StreamInterruptedError,
    UpstreamConnectionError,
    UpstreamContext,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)

__all__ = ["TRANSPORT_FAILURES", "api_error", "context_of", "error_before_answer", "error_within_answer"]

# The other exceptions of httpx mean that the request was wrong, not the way to upstream: those are bugs.
TRANSPORT_FAILURES: Final = (
    httpx.NetworkError,
    httpx.ProxyError,
    httpx.RemoteProtocolError,
    httpx.TimeoutException,
)

_PASSED_ON: Final = (
    "anthropic-organization-id",
    "anthropic-ratelimit-",
    "request-id",
    "retry-after",
    "x-should-retry",
)
_MAX_TEXT_BYTES: Final = 1024
_DISCONNECTED: Final = "Server disconnected without sending a response."
_TIMEOUTS: Final = (
    (httpx.ConnectTimeout, "connect", "No connection to upstream came about within the connect timeout."),
    (httpx.PoolTimeout, "pool", "No connection to upstream became free within the pool timeout."),
    (httpx.WriteTimeout, "write", "Upstream did not take the request within the write timeout."),
    (httpx.TimeoutException, "read", "Upstream was silent for longer than the read timeout."),
)


def context_of(response_headers: Mapping[str, str], asked: UpstreamContext) -> UpstreamContext:
    """Return what the rest of the gateway shall know of a response, beside what was known when it was ``asked`` for."""
    headers = {
        name: value
        for name, value in response_headers.items()
        if name.startswith(_PASSED_ON) and value.isascii() and value.isprintable()
    }
    return replace(asked, request_id=headers.get("request-id", ""), headers=MappingProxyType(headers))


def api_error(status: int, body: bytes, context: UpstreamContext) -> UpstreamStatusError:
    """Return the error that an error response, or an ``error`` event's data, stands for."""
    error = _object(_json(body), "error")
    details = _object(error, "details")
    return UpstreamStatusError(
        _text(error, "message") or f"Upstream answered with status {status}.",
        http_status=status,
        error_type=_text(error, "type"),
        error_code=_text(details, "error_code"),
        context=context,
    )


def error_before_answer(failure: httpx.TransportError, context: UpstreamContext) -> UpstreamError:
    """Return the error for a transport's ``failure`` to bring a response."""
    for kind, phase, text in _TIMEOUTS:
        if isinstance(failure, kind):
            return UpstreamTimeoutError(text, phase=phase, context=context)
    if isinstance(failure, httpx.ConnectError | httpx.ProxyError):
        return UpstreamConnectionError("No connection to upstream could be made.", context)
    # Both engines have one exception for a peer that says nothing and one that says what is not HTTP.
    if isinstance(failure, httpx.RemoteProtocolError) and str(failure) != _DISCONNECTED:
        return UpstreamProtocolError("Upstream answered with what is not HTTP.", context)
    return UpstreamConnectionError("The connection to upstream broke before an answer came.", context)


def error_within_answer(failure: httpx.TransportError, context: UpstreamContext) -> UpstreamError:
    """Return the error for a transport's ``failure`` to bring a response's body whole."""
    if isinstance(failure, httpx.TimeoutException):
        return UpstreamTimeoutError(_TIMEOUTS[-1][2], phase="read", context=context)
    return StreamInterruptedError("The connection to upstream broke before the answer was whole.", context)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _object(parent: Any, name: str) -> Any:
    return parent.get(name) if isinstance(parent, dict) else None


def _text(parent: Any, name: str) -> str:
    value = _object(parent, name)
    if not isinstance(value, str):
        return ""
    # JSON may hold half a surrogate pair, which no protobuf string can.
    return value.encode("utf-8", "replace")[:_MAX_TEXT_BYTES].decode("utf-8", "ignore")
