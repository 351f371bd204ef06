"""The HTTP engines that can stand behind ``UpstreamClient``.

Here it is decided how connections are made: TLS trust, proxy, limits, keep-alive. What is sent over them, and what is
made of the answer, is the client's.
"""

from __future__ import annotations

import socket
import ssl
from typing import Final, Literal, TypeAlias
from urllib.request import getproxies, proxy_bypass

import httpx

from claude_grpc.upstream.aiohttp_transport import AiohttpTransport
from claude_grpc.upstream.http import HttpTransport
from claude_grpc.upstream.httpx_transport import HttpxTransport

__all__ = ["Engine", "environment_proxy", "make_transport"]

Engine: TypeAlias = Literal["aiohttp", "httpx"]

# Shorter than the minute after which common load balancers close an idle connection, perhaps under a new request.
_IDLE_SECONDS: Final = 30.0

# An answer can be minutes in coming, longer than many a NAT remembers a silent connection.
_KEEPALIVE: Final = tuple(
    (level, getattr(socket, option), value)
    for level, option, value in (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 60),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 60),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 5),
    )
    if hasattr(socket, option)
)


def make_transport(
    engine: Engine,
    *,
    proxy: str | None = None,
    max_connections: int = 1000,
    tls: ssl.SSLContext | None = None,
) -> HttpTransport:
    """Return an engine, which opens nothing before its first request; ``ValueError`` for a proxy of another kind.

    Args:
        engine: ``aiohttp``, or ``httpx`` for httpx's own.
        proxy: URL of the proxy for every request, user and password included; see ``environment_proxy``.
        max_connections: Requests under way at once; more wait, as long as the pool timeout lets them.
        tls: By default the system's certificates, or those of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``.
    """
    if proxy is not None and httpx.URL(proxy).scheme not in {"http", "https"}:
        raise ValueError("the proxy must be an http or https URL")
    tls = tls or ssl.create_default_context()
    if engine == "aiohttp":
        return AiohttpTransport(
            tls=tls,
            proxy=proxy,
            max_connections=max_connections,
            idle_seconds=_IDLE_SECONDS,
            socket_options=_KEEPALIVE,
        )
    # HTTP/1.1: httpcore resets no HTTP/2 stream that is left early, so upstream would answer, and bill, to the end.
    transport = httpx.AsyncHTTPTransport(
        verify=tls,
        proxy=proxy,
        limits=httpx.Limits(max_connections=max_connections, keepalive_expiry=_IDLE_SECONDS),
        socket_options=_KEEPALIVE,
    )
    return HttpxTransport(transport)


def environment_proxy(url: str) -> str | None:
    """The proxy for ``url`` by ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``; None if there is none."""
    target = httpx.URL(url)
    if proxy_bypass(target.netloc.decode("ascii")):
        return None
    proxies = getproxies()
    proxy = proxies.get(target.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy
