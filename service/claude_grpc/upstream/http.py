"""One HTTP exchange, as the engines behind ``UpstreamClient`` have it: what goes out, and what comes back.

Between the two an engine raises httpx's exceptions. It sends a request as it is and hands on the response as it comes:
no redirects, no cookies, no decompression, no header of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

__all__ = ["HttpRequest", "HttpResponse", "HttpTransport", "response_headers"]


def _nobody() -> None:
    """Nobody wants to know."""


@dataclass(slots=True, kw_only=True)
class HttpRequest:
    """What goes out.

    Attributes:
        method: Such as ``POST``.
        origin: Where to, such as ``https://api.anthropic.com`` or ``http://localhost:8080``.
        target: Path and query, escaped.
        headers: By name in lower case, with ``host`` and what tells where the body ends.
        body: Whole, or as an iterable that makes it while it is sent.
        timeouts: Seconds, by the names in ``Timeouts``; what is not there has none.
        on_sent: Called when there is a connection and the request goes out on it.
        window: Seconds for which an engine may gather the deltas of a streamed answer.
    """

    method: str
    origin: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | AsyncIterable[bytes] = field(default=b"", repr=False)
    timeouts: Mapping[str, float] = field(default_factory=dict)
    on_sent: Callable[[], None] = _nobody
    window: float = 0.0


class HttpResponse(Protocol):
    """What comes back: iterates over the pieces of the body that the network brings.

    When it was read to its end the connection may serve again; to close it earlier closes the connection at once.
    """

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By name in lower case."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None:
        """Let go of the connection; may be called again."""


class HttpTransport(Protocol):
    """An engine. Bound to the event loop of its first request."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request, and return its response as soon as the headers are there.

        To cancel who waits for them closes the connection at once.
        """

    async def aclose(self) -> None:
        """Close every connection, busy or idle."""


def response_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as they came, by name in lower case; several of one name become one."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
