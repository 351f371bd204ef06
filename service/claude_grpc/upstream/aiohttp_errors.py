"""aiohttp's exceptions as httpx's, which is all that the transport's callers know."""

from __future__ import annotations

from typing import Final

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError

__all__ = ["AIOHTTP_FAILURES", "httpx_error"]

AIOHTTP_FAILURES: Final = (aiohttp.ClientError, HttpProcessingError, OSError)

_HTTPX_ERRORS: Final[tuple[tuple[type[Exception], type[httpx.TransportError]], ...]] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (HttpProcessingError, httpx.RemoteProtocolError),
    (Exception, httpx.ReadError),
)


def httpx_error(error: Exception) -> httpx.TransportError:
    """Return what httpx's own transport would have raised."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return httpx.RemoteProtocolError("Server disconnected without sending a response.")
    return next(httpx_type for kind, httpx_type in _HTTPX_ERRORS if isinstance(error, kind))(str(error))
