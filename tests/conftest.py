"""Fixtures for every folder; what they are made of stands in ``support``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from claude_grpc.telemetry import lifetime
from support.canary import Watch
from support.processes import GatewayProcess, running_gateway
from support.stack import Stack, open_stack


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests reaches them."""
    for name in list(os.environ):
        if name.startswith(("CLAUDE_GRPC_", "ANTHROPIC_", "OTEL_")) and not name.startswith("CLAUDE_GRPC_TEST_"):
            monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def canary_watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Whatever a test is about: no key, no prompt and no caller's header is on a span, in a metric or in the log."""
    watch = Watch()
    monkeypatch.setattr(lifetime, "open_export", watch.opening(lifetime.open_export))
    watch.overhear(monkeypatch)
    yield watch
    assert watch.found == []


@pytest.fixture(scope="session")
def gateway_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway as a process, without a key and so with the embedded simulator behind it."""
    log: Path = tmp_path_factory.mktemp("gateway") / "log"
    with running_gateway(log, key=None) as gateway:
        yield gateway


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """A gateway in this process, in front of a simulator."""
    async with open_stack() as opened:
        yield opened
