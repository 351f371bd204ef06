"""A gateway's telemetry from its start to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from claude_grpc.telemetry.calls import Telemetry
from claude_grpc.telemetry.content import ContentCapture
from claude_grpc.telemetry.export import open_export
from claude_grpc.telemetry.watch import watch

__all__ = ["open_telemetry"]

_PORTS = {"http": 80, "https": 443}


@asynccontextmanager
async def open_telemetry(
    environ: Mapping[str, str], *, version: str, base_url: str, max_content_bytes: int
) -> AsyncIterator[Telemetry]:
    """What ``environ`` asks for; on leaving, what is left is sent, within a few seconds.

    Args:
        environ: With the standard ``OTEL_*`` settings.
        version: The gateway's.
        base_url: Where the Claude API is.
        max_content_bytes: Most bytes of a prompt or an answer on a span, if they are to be there at all.

    Raises:
        ConfigurationError: It asks for what there is not.
    """
    export = open_export(environ, version)
    url = urlsplit(base_url)
    telemetry = Telemetry(
        export.tracer,
        export.meter,
        upstream=(url.hostname or "", url.port or _PORTS.get(url.scheme, 0)),
        content=ContentCapture(max_content_bytes) if export.captures_content else None,
        propagates=export.propagates,
    )
    watching = asyncio.create_task(watch(telemetry.metrics)) if export.meter else None
    try:
        yield telemetry
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
            telemetry.metrics.read_gauges()
        await export.close()
