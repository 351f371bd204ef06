"""Once a second, on the event loop: how late it is, and what the gauges say."""

from __future__ import annotations

import asyncio

from claude_grpc.telemetry.metrics import Metrics

__all__ = ["watch"]

_INTERVAL = 1.0


async def watch(metrics: Metrics) -> None:
    """Look, again and again, until cancelled."""
    loop = asyncio.get_running_loop()
    metrics.read_gauges()
    while True:
        due = loop.time() + _INTERVAL
        await asyncio.sleep(_INTERVAL)
        metrics.loop_lag(max(loop.time() - due, 0.0))
        metrics.read_gauges()
