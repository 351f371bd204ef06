"""A collector, and the environment in which a gateway tells it everything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from support.otlp import Collector, open_collector


@pytest.fixture
def export_to(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the standard variables for gateways that are opened from now on."""

    def export(url: str, protocol: str = "grpc", **variables: str) -> None:
        chosen = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
            **variables,
        }
        for name, value in chosen.items():
            monkeypatch.setenv(name, value)

    return export


@pytest.fixture
async def collector(export_to: Callable[..., None]) -> AsyncIterator[Collector]:
    """A collector that gateways export to. What a gateway had to tell is here once it is closed."""
    async with open_collector() as opened:
        export_to(opened.grpc_url)
        yield opened
