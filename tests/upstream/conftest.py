"""Scripted upstreams, and the two engines that talk to them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from claude_grpc.upstream import Endpoint, RetryPolicy, UpstreamClient, make_transport
from support.raw_upstream import RawUpstream, Serve, raw_upstreams

API_KEY = "canary-key-7f3a"


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start scripted upstreams; an exception in a script fails the test."""
    async with raw_upstreams() as start:
        yield start


@pytest.fixture(params=["aiohttp", "httpx"])
def engine(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="session")
def tls() -> ssl.SSLContext:
    """Trust the system's certificates; to read them takes longer than a test."""
    return ssl.create_default_context()


@pytest.fixture
async def transport(engine: Any, tls: ssl.SSLContext) -> AsyncIterator[httpx.AsyncBaseTransport]:
    made = make_transport(engine, tls=tls)
    yield made
    await made.aclose()


class Waits(list[float]):
    """A ``sleep`` that only notes for how long."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def connect(transport: httpx.AsyncBaseTransport, waits: Waits) -> Callable[..., UpstreamClient]:
    """Make a client of an upstream; it backs off without jitter and without sleeping."""

    def make(upstream: RawUpstream, **options: Any) -> UpstreamClient:
        settings: dict[str, Any] = {"retry": RetryPolicy(random=lambda: 0.0), "sleep": waits, **options}
        endpoint = settings.pop("endpoint", None) or Endpoint(upstream.url, api_key=API_KEY)
        return UpstreamClient(settings.pop("transport", transport), endpoint, **settings)

    return make
