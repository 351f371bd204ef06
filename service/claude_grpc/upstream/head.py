"""The head of a request: its headers and URL, put together once for what never changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import httpx

from claude_grpc.errors import InvalidRequestError, Violation
from claude_grpc.upstream.body import watched_body
from claude_grpc.upstream.exchange import UpstreamRequest, is_header_value
from claude_grpc.upstream.upload import StreamedBody

__all__ = ["RequestMaker"]


class RequestMaker:
    """Makes httpx's requests of ours.

    Args:
        base_url: Before every path.
        headers: Of every request, by name in lower case.
        timeouts: For each attempt, by httpx's names.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], timeouts: Mapping[str, float]) -> None:
        base_url = base_url.rstrip("/")
        # httpx would put the host there at each request anew.
        self._headers = {"host": httpx.URL(base_url).netloc.decode("ascii"), **headers}
        self._timeouts = timeouts
        self._url = lru_cache(maxsize=128)(lambda path: httpx.URL(base_url + path))

    def make(self, request: UpstreamRequest, told: Mapping[str, str], taken: Callable[[], None]) -> httpx.Request:
        """The request.

        Args:
            request: What is asked.
            told: More headers, which telemetry adds.
            taken: Called when the body, if there is one, goes out on a connection.

        Raises:
            InvalidRequestError: A header cannot be sent.
        """
        for name, value in request.headers.items():
            if not is_header_value(value):
                raise InvalidRequestError([Violation(name, "must be visible ASCII characters")])
        return httpx.Request(
            request.method,
            self._url(request.path),
            headers={**self._headers, **told, **request.headers, **_framing(request)},
            stream=watched_body(request.body, taken) if request.body else httpx.ByteStream(b""),
            extensions={"timeout": {**self._timeouts, **request.timeouts}},
        )


def _framing(request: UpstreamRequest) -> dict[str, str]:
    """The header that tells where the body ends."""
    length = request.body.length if isinstance(request.body, StreamedBody) else len(request.body)
    if length is None:
        return {"transfer-encoding": "chunked"}
    return {"content-length": str(length)} if request.body or request.method == "POST" else {}
