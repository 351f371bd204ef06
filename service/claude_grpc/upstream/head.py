"""The head of a request: its headers and URL, put together once for what never changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import httpx

from claude_grpc.errors import InvalidRequestError, Violation
from claude_grpc.upstream.exchange import UpstreamRequest, is_header_value
from claude_grpc.upstream.http import HttpRequest
from claude_grpc.upstream.upload import StreamedBody

__all__ = ["RequestMaker"]


class RequestMaker:
    """Makes HTTP requests of ours.

    Args:
        base_url: Before every path.
        headers: Of every request, by name in lower case.
        timeouts: For each attempt, by the names in ``Timeouts``.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], timeouts: Mapping[str, float]) -> None:
        url = httpx.URL(base_url.rstrip("/"))
        host = url.netloc.decode("ascii")
        self._origin = f"{url.scheme}://{host}"
        self._prefix = url.raw_path.decode("ascii").rstrip("/")
        self._headers = {"host": host, **headers}
        self._timeouts = timeouts

    def url(self, request: UpstreamRequest) -> str:
        """Where a request goes, without its query."""
        return f"{self._origin}{self._prefix}{request.path.partition('?')[0]}"

    def make(self, request: UpstreamRequest, told: Mapping[str, str], on_sent: Callable[[], None]) -> HttpRequest:
        """The request.

        Args:
            request: What is asked.
            told: More headers, which telemetry adds.
            on_sent: Called when it goes out on a connection.

        Raises:
            InvalidRequestError: A header cannot be sent.
        """
        for name, value in request.headers.items():
            if not is_header_value(value):
                raise InvalidRequestError([Violation(name, "must be visible ASCII characters")])
        return HttpRequest(
            method=request.method,
            origin=self._origin,
            target=self._prefix + request.path,
            headers={**self._headers, **told, **request.headers, **_framing(request)},
            body=request.body,
            timeouts={**self._timeouts, **request.timeouts},
            on_sent=on_sent,
            window=request.window,
        )


def _framing(request: UpstreamRequest) -> dict[str, str]:
    """The header that tells where the body ends."""
    length = request.body.length if isinstance(request.body, StreamedBody) else len(request.body)
    if length is None:
        return {"transfer-encoding": "chunked"}
    return {"content-length": str(length)} if request.body or request.method == "POST" else {}
