"""What goes into ``UpstreamClient`` and comes out of it: where upstream is, how long to wait, requests and responses.

Plain values. None of them shows a key, a header or a body in its ``repr``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import httpx

from claude_grpc.errors import UpstreamContext
from claude_grpc.upstream.upload import StreamedBody

__all__ = ["Endpoint", "Timeouts", "UpstreamRequest", "UpstreamResponse", "is_header_value"]

_HEADER_VALUE: Final = re.compile(r"[!-~](?:[\t -~]*[!-~])?")


def is_header_value(value: str) -> bool:
    """Tell whether ``value`` can be sent as a header: visible ASCII, with blanks inside only."""
    return _HEADER_VALUE.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Claude API and the credentials for it: an API key, an auth token, or neither; ``ValueError`` if they cannot be.

    Attributes:
        base_url: Such as ``https://api.anthropic.com``; a path in it is put before every request's.
        api_key: Sent as ``x-api-key``.
        auth_token: Sent as ``Authorization: Bearer``.
        anthropic_version: Sent unless the request names another.
    """

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    auth_token: str | None = field(default=None, repr=False)
    anthropic_version: str = "2026-10-21"

    def __post_init__(self) -> None:
        """Check what would otherwise fail, or leak, on every request."""
        url = httpx.URL(self.base_url)
        if url.scheme not in {"http", "https"} or not url.host:
            raise ValueError("base_url must be an http or https URL with a host")
        if url.userinfo or url.query or url.fragment:
            raise ValueError("base_url must have no credentials, query or fragment")
        if self.api_key is not None and self.auth_token is not None:
            raise ValueError("an API key and an auth token exclude each other")
        for name in ("api_key", "auth_token", "anthropic_version"):
            value = getattr(self, name)
            if value is not None and not is_header_value(value):
                raise ValueError(f"{name} must be visible ASCII characters without blanks around them")

    def headers(self) -> dict[str, str]:
        """Return the headers that make a request one to this endpoint."""
        headers = {"anthropic-version": self.anthropic_version}
        if self.api_key is not None:
            headers["x-api-key"] = self.api_key
        if self.auth_token is not None:
            headers["authorization"] = f"Bearer {self.auth_token}"
        return headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds to wait for a connection, for each read and write on it, and for one to become free.

    Engines know them by these names.
    """

    connect: float = 5.0
    read: float = 600.0
    write: float = 600.0
    pool: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRequest:
    """One call of the Claude API.

    Attributes:
        method: HTTP method.
        path: Escaped, with its query, such as ``/v1/messages``.
        body: JSON unless ``headers`` has a ``content-type``; sent in pieces if it comes so.
        headers: By name in lower case; they replace the client's own.
        model: What is asked; its failures are counted together. Empty where a request is not about a model.
        max_retries: Replaces the retry policy's own.
        timeouts: Replace the client's own, by the names in ``Timeouts``.
        deadline: When the call's time is up, on the client's monotonic clock.
        window: Seconds for which the deltas of an answer may be gathered; 0 for not at all.
        earlier: What was tried for the same call before, with another model.
    """

    method: str
    path: str
    body: bytes | StreamedBody = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    model: str = ""
    max_retries: int | None = None
    timeouts: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    deadline: float | None = None
    window: float = 0.0
    earlier: UpstreamContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamResponse:
    """A whole successful answer; ``headers`` are by name in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    context: UpstreamContext
