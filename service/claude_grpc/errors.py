"""Every error the gateway raises, as one tree.

::

    GatewayError
    ├── SchemaError                 our protos are wrong; raised at start-up, never in a call
    ├── RequestError                the caller's fault
    │   ├── InvalidRequestError         violations, each with the path of its field
    │   ├── RequestTooLargeError        the body passes a limit
    │   ├── OutOfRangeError             it asks for what lies beyond the end
    │   └── NotFoundError               nothing of that name here
    ├── RefusedError                the gateway does not serve the call, though another might
    │   ├── GatewayOverloadedError      it has as many calls, or as much in memory, as it can
    │   └── DrainingError               it is being stopped
    └── UpstreamError               the Claude API's, or the way to it
        ├── UpstreamStatusError         it answered with an error: status, type, message
        ├── UpstreamConnectionError     no connection, or it broke before the answer began
        ├── UpstreamTimeoutError        silent for longer than the read timeout
        ├── UpstreamProtocolError       it answered what is not HTTP, JSON or an event stream
        ├── StreamInterruptedError      a stream ended before `message_stop`
        ├── BreakerOpenError            it was not asked: the model was failing just now
        └── DeadlineExceededError       the call's time is up

Errors are raised, never turned into a status by hand: ``rpc/table.py`` holds the one table from these classes to gRPC
codes. The text of an error may travel to a caller, so it never holds a key, a header's value or another exception's
text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = [
    "BreakerOpenError",
    "DeadlineExceededError",
    "DrainingError",
    "GatewayError",
    "GatewayOverloadedError",
    "InvalidRequestError",
    "NotFoundError",
    "OutOfRangeError",
    "RefusedError",
    "RequestError",
    "RequestTooLargeError",
    "SchemaError",
    "StreamInterruptedError",
    "UpstreamConnectionError",
    "UpstreamContext",
    "UpstreamError",
    "UpstreamProtocolError",
    "UpstreamStatusError",
    "UpstreamTimeoutError",
    "Violation",
]


class GatewayError(Exception):
    """Root of the tree."""


class SchemaError(GatewayError):
    """A proto's options contradict each other or its descriptor."""


class RequestError(GatewayError):
    """The request cannot be sent as it is; sending it again unchanged cannot help."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with a request.

    Attributes:
        field: Path of the field in the request message, such as ``params.messages[0].content[2].text``.
        description: What would be right, as a sentence.
    """

    field: str
    description: str


class InvalidRequestError(RequestError):
    """The request breaks the contract; ``violations`` holds everything that is wrong with it."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in self.violations))


class RequestTooLargeError(RequestError):
    """The request has ``size`` of what ``unit`` says, more than the ``limit`` that holds for its method.

    Attributes:
        field: Path of what is too large, or of the part with which the request became so.
    """

    def __init__(self, size: int, limit: int, *, field: str = "params", unit: str = "bytes") -> None:
        self.size = size
        self.limit = limit
        self.field = field
        what = "The request body" if field == "params" else f"{field}: With it the request"
        super().__init__(f"{what} has {size} {unit}; at most {limit} are allowed.")


class OutOfRangeError(RequestError):
    """The request begins at a place beyond the end of what there is.

    Attributes:
        field: Path of the place.
        end: The last place at which it could begin.
    """

    def __init__(self, field: str, end: int) -> None:
        self.field = field
        self.end = end
        super().__init__(f"{field}: Must be at most {end}, where the content ends.")


class NotFoundError(RequestError):
    """The gateway itself has nothing of that name; what upstream does not find is an `UpstreamStatusError`."""


class RefusedError(GatewayError):
    """The gateway does not serve a call, or not to its end, for reasons of its own.

    Attributes:
        retry_after: Seconds until the same call may fare better; None if some of it may have been billed already.
        partial: Whether a part of the answer had already gone to the caller.
    """

    def __init__(self, message: str, *, retry_after: float | None, partial: bool = False) -> None:
        self.retry_after = retry_after
        self.partial = partial
        super().__init__(message)


class GatewayOverloadedError(RefusedError):
    """The gateway has as many calls, or as many bytes of them in memory, as it can bear."""


class DrainingError(RefusedError):
    """The gateway is being stopped; others serve."""


@dataclass(frozen=True, slots=True)
class UpstreamContext:
    """What is known of the HTTP exchange in which an error arose.

    Attributes:
        request_id: Upstream's ``request-id``, empty if no answer came.
        attempts: HTTP requests made for this call, this one included.
        retries: Why each attempt but the last was not the last, in a word: ``529``, ``connect`` …
        model: The model that was asked, empty where the request has none.
        fallback: Why that is another than the caller's: ``overloaded`` or ``breaker_open``; empty if it is not.
        headers: Response headers worth passing on, in lower case: ``retry-after``, ``anthropic-ratelimit-*`` …
        partial: Whether events of this answer had already gone to the caller.
    """

    request_id: str = ""
    attempts: int = 0
    retries: tuple[str, ...] = ()
    model: str = ""
    fallback: str = ""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    partial: bool = False


class UpstreamError(GatewayError):
    """Something went wrong on the way to the Claude API, or there.

    ``context`` starts empty where the raiser does not know it; the layer that does replaces it.
    """

    def __init__(self, message: str, context: UpstreamContext | None = None) -> None:
        self.context = context or UpstreamContext()
        super().__init__(message)


class UpstreamStatusError(UpstreamError):
    """The Claude API answered with an error, as a response or as an ``error`` event of a stream.

    Attributes:
        http_status: The response's status; 200 for an ``error`` event.
        error_type: ``error.type`` of the body, such as ``overloaded_error``; empty if the body is not the API's.
        error_code: ``error.details.error_code``, empty where there is none.
    """

    def __init__(
        self,
        message: str,
        *,
        http_status: int,
        error_type: str = "",
        error_code: str = "",
        context: UpstreamContext | None = None,
    ) -> None:
        self.http_status = http_status
        self.error_type = error_type
        self.error_code = error_code
        super().__init__(message, context)


class UpstreamConnectionError(UpstreamError):
    """No connection could be made, or it broke before the response's headers."""


class UpstreamTimeoutError(UpstreamError):
    """Upstream took longer than a timeout allows; the request may have been billed.

    Attributes:
        phase: ``connect``, ``pool``, ``write`` or ``read``.
    """

    def __init__(self, message: str, *, phase: str, context: UpstreamContext | None = None) -> None:
        self.phase = phase
        super().__init__(message, context)


class UpstreamProtocolError(UpstreamError):
    """Upstream sent what is not valid HTTP, JSON or an event stream."""


class StreamInterruptedError(UpstreamError):
    """The body ended, or its connection broke, before the answer was whole."""


class BreakerOpenError(UpstreamError):
    """Nothing was sent, for attempts of the same kind were failing just now.

    Attributes:
        retry_after: Seconds until one is let through again.
    """

    def __init__(self, message: str, *, retry_after: float, context: UpstreamContext | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message, context)


class DeadlineExceededError(UpstreamError):
    """The call's time is up, or so nearly that no attempt could end in it; what was sent may have been billed."""
