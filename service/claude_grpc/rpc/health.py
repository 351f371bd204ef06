"""``grpc.health.v1``: whether the process lives, and whether it takes calls.

Our own, because a ``Watch`` must end when the server drains: an open one would hold the exit until the grace is used
up. Services: the empty name and ``readiness`` are SERVING until the drain begins, ``liveness`` as long as the process
runs. No answer depends on the Claude API: restarting a gateway repairs nothing there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from grpc_health.v1 import health_pb2

from claude_grpc.errors import NotFoundError
from claude_grpc.rpc.call import Call

__all__ = ["Health", "HealthServicer"]

_SERVING: int = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: int = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """The state that the health service tells.

    Args:
        services: Names of the proto services, which are as ready as the whole.
    """

    def __init__(self, services: tuple[str, ...] = ()) -> None:
        self._ready = ("", "readiness", *services)
        self._draining = asyncio.Event()

    def is_draining(self) -> bool:
        """Whether the drain has begun."""
        return self._draining.is_set()

    def drain(self) -> None:
        """Say NOT_SERVING from now on, and end every ``Watch``."""
        self._draining.set()

    def services(self) -> tuple[str, ...]:
        """Every name there is a status for."""
        return (*self._ready, "liveness")

    def status(self, service: str) -> int | None:
        """The status of a service, None for a name that is not known."""
        if service == "liveness":
            return _SERVING
        if service in self._ready:
            return _NOT_SERVING if self.is_draining() else _SERVING
        return None

    async def drained(self) -> None:
        """Wait until the drain begins."""
        await self._draining.wait()


class HealthServicer:
    """Serves ``grpc.health.v1.Health``."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def check(self, request: health_pb2.HealthCheckRequest, call: Call) -> health_pb2.HealthCheckResponse:  # noqa: ARG002
        """The status now."""
        status = self._health.status(request.service)
        if status is None:
            raise NotFoundError("Not a service of this gateway; ask for one of its proto services or for none.")
        return health_pb2.HealthCheckResponse(status=status)

    async def list(self, request: health_pb2.HealthListRequest, call: Call) -> health_pb2.HealthListResponse:  # noqa: ARG002
        """The status of every service now."""
        return health_pb2.HealthListResponse(
            statuses={
                name: health_pb2.HealthCheckResponse(status=self._health.status(name))
                for name in self._health.services()
            }
        )

    async def watch(
        self,
        request: health_pb2.HealthCheckRequest,
        call: Call,  # noqa: ARG002
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now, and once more when the drain begins; then the stream ends."""
        status = self._health.status(request.service)
        unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        yield health_pb2.HealthCheckResponse(status=unknown if status is None else status)
        await self._health.drained()
        if status is not None:
            yield health_pb2.HealthCheckResponse(status=self._health.status(request.service))
