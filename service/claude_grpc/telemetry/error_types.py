"""One word for each way to fail, for ``error.type``: few of them, and none that somebody else has written."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from claude_grpc.errors import (
    BreakerOpenError,
    DeadlineExceededError,
    RequestError,
    StreamInterruptedError,
    UpstreamConnectionError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)

__all__ = ["CANCELLED", "DEADLINE_EXCEEDED", "error_type", "rpc_error_type"]

CANCELLED: Final = "cancelled"
DEADLINE_EXCEEDED: Final = "deadline_exceeded"

# Of a server, by the conventions; the others are the caller's doing.
_SERVER_ERRORS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)

_FIRST_ERROR: Final = 400
# The API's own word, if it is one.
_WORD: Final = re.compile(r"[a-z][a-z_]{0,63}")


_WORDS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (asyncio.CancelledError, CANCELLED),
    (GeneratorExit, CANCELLED),
    (BreakerOpenError, "breaker_open"),
    (DeadlineExceededError, DEADLINE_EXCEEDED),
    (UpstreamConnectionError, "connection_error"),
    (UpstreamProtocolError, "protocol_error"),
    (StreamInterruptedError, "stream_interrupted"),
    (RequestError, "invalid_request"),
)


def error_type(error: BaseException | None) -> str:
    """The word for an error; empty for none."""
    match error:
        case None:
            return ""
        case UpstreamStatusError():
            return error.error_type if _WORD.fullmatch(error.error_type) else _status_word(error.http_status)
        case UpstreamTimeoutError():
            return f"{error.phase}_timeout"
        case _:
            return next((word for kind, word in _WORDS if isinstance(error, kind)), type(error).__name__)


def _status_word(status: int) -> str:
    # An event of a stream may be an error in words that nobody knows.
    return str(status) if status >= _FIRST_ERROR else "unknown_error"


def rpc_error_type(code: str) -> str:
    """The word for an RPC that ends with this code; empty if that is no error of the server's."""
    return code if code in _SERVER_ERRORS else ""
