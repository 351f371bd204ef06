"""Requests for an engine, and what it brings back."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from urllib.parse import urlsplit

from claude_grpc.upstream.http import HttpRequest, HttpResponse

__all__ = ["post", "read_all"]

_QUICK = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}


def post(
    url: str,
    body: bytes | AsyncIterable[bytes] = b"{}",
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    **timeouts: float,
) -> HttpRequest:
    parts = urlsplit(url)
    framing = {"content-length": str(len(body))} if isinstance(body, bytes) else {"transfer-encoding": "chunked"}
    return HttpRequest(
        method=method,
        origin=f"{parts.scheme}://{parts.netloc}",
        target=parts._replace(scheme="", netloc="").geturl() or "/",
        headers=headers or {"host": parts.netloc, "x-one": "1", "accept-encoding": "identity", **framing},
        body=body,
        timeouts=_QUICK | timeouts,
    )


async def read_all(response: HttpResponse) -> bytes:
    try:
        return b"".join([piece async for piece in response])
    finally:
        await response.aclose()
