"""What a failed attempt tells: the facts that decide about the next one.

Made of the error that the attempt raised. Whether it is tried again is the retry policy's to say, whether others still
are the breaker's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from claude_grpc.errors import (
    StreamInterruptedError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from claude_grpc.upstream.breaker import Verdict

__all__ = ["SERVER_ERROR", "Outcome", "is_overload", "outcome_of"]

SERVER_ERROR: Final = 500
_OVERLOADED: Final = 529
_LASTING: Final = 400

# An error event comes under status 200; these are the statuses of the same errors. An unknown type is a server error.
_STATUS_OF_TYPE: Final[Mapping[str, int]] = {
    "authentication_error": _LASTING,
    "billing_error": _LASTING,
    "conflict_error": 409,
    "invalid_request_error": _LASTING,
    "not_found_error": _LASTING,
    "overloaded_error": _OVERLOADED,
    "permission_error": _LASTING,
    "rate_limit_error": 429,
    "request_too_large": _LASTING,
    "timeout_error": 504,
}
_WORD: Final = re.compile(r"[a-z_]{1,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attempt failed.

    Attributes:
        status: The response's HTTP status, or for an error event the status of such an error; None for neither.
        broken: Without a status: whether the connection could not be made, or broke before an answer came.
        timeout: Without a status: the timeout that ran out, as in ``UpstreamTimeoutError.phase``; empty if none did.
        hurried: Whether that timeout was a caller's own, shorter than the gateway's.
        headers: The response's headers, by name in lower case.
        word: The same for people, as short as can be.
    """

    status: int | None = None
    broken: bool = False
    timeout: str = ""
    hurried: bool = False
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    word: str = ""

    @property
    def verdict(self) -> Verdict:
        """What the attempt tells of upstream."""
        if self.status is not None:
            return Verdict.FAILED if self.status >= SERVER_ERROR else Verdict.ANSWERED
        # Silence may be a long thought, and a caller in a hurry is no sign of trouble upstream.
        unreached = self.timeout == "connect" and not self.hurried
        return Verdict.FAILED if self.broken or unreached else Verdict.UNKNOWN


def outcome_of(error: UpstreamError, *, hurried: bool = False) -> Outcome:
    """Return what the error of an attempt tells; ``hurried`` as in ``Outcome``."""
    match error:
        case UpstreamStatusError(http_status=200):
            status = _STATUS_OF_TYPE.get(error.error_type, SERVER_ERROR)
            word = error.error_type if _WORD.fullmatch(error.error_type) else "error"
            return Outcome(status=status, headers=error.context.headers, word=word)
        case UpstreamStatusError():
            return Outcome(status=error.http_status, headers=error.context.headers, word=str(error.http_status))
        case UpstreamTimeoutError():
            return Outcome(timeout=error.phase, hurried=hurried, word=f"{error.phase}-timeout")
        case UpstreamConnectionError():
            return Outcome(broken=True, word="connect")
        case StreamInterruptedError():
            return Outcome(broken=True, word="cut")
        case _:
            return Outcome(word="garbled")


def is_overload(error: UpstreamError) -> bool:
    """Tell whether upstream has said that it has too much to do."""
    return isinstance(error, UpstreamStatusError) and (
        error.error_type == "overloaded_error" or error.http_status == _OVERLOADED
    )
