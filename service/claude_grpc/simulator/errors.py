"""The API's errors: raised anywhere in the simulator, written to the client by ``app``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["ApiError", "error_object", "error_status", "error_type", "invalid"]

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_type(status: int) -> str:
    """Return the ``error.type`` that the API sends with an HTTP status."""
    server_side = status // 100 == 5  # noqa: PLR2004
    return _TYPES.get(status, "api_error" if server_side else "invalid_request_error")


def error_status(type: str) -> int:  # noqa: A002
    """Return the HTTP status that the API sends with an ``error.type``."""
    return next((status for status, name in _TYPES.items() if name == type), 500)


class ApiError(Exception):
    """An error answer: its HTTP status, message, and, where not the status's own, its type and headers."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str | None = None,  # noqa: A002  (the API's own word)
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type or error_type(status)
        self.headers = headers


def invalid(path: str, problem: str) -> ApiError:
    """Return the 400 for something at a path, like ``messages.0.content.1``."""
    return ApiError(400, f"{path}: {problem}")


def error_object(type: str, message: str, request_id: str) -> dict[str, Any]:  # noqa: A002
    """Return the JSON object of an error, as in a body and as in a stream's ``error`` event."""
    return {"type": "error", "error": {"type": type, "message": message}, "request_id": request_id}
