"""``claude_grpc.v1.GatewayService``: what a caller may want to know of the gateway."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from claude_grpc.rpc.call import Call
from claude_grpc.upstream import BreakerSnapshot, BreakerState
from claude_grpc.v1 import gateway_pb2

__all__ = ["SCHEMA_REVISION", "GatewayServicer"]

SCHEMA_REVISION = 1
"""Raised by each release that adds an arm to a oneof or a value to an enum of a response."""


_STATES = {
    BreakerState.CLOSED: gateway_pb2.BREAKER_STATE_CLOSED,
    BreakerState.OPEN: gateway_pb2.BREAKER_STATE_OPEN,
    BreakerState.HALF_OPEN: gateway_pb2.BREAKER_STATE_HALF_OPEN,
}


class GatewayServicer:
    """Tells what the gateway is, and how it stands with upstream.

    Args:
        info: What does not change while the process runs.
        breakers: Tells the models that failed of late.
        draining: Tells whether it is being stopped.
    """

    def __init__(
        self,
        info: gateway_pb2.GetServerInfoResponse,
        breakers: Callable[[], Sequence[BreakerSnapshot]],
        draining: Callable[[], bool],
    ) -> None:
        self._info = info
        self._breakers = breakers
        self._draining = draining

    async def get_server_info(
        self,
        request: gateway_pb2.GetServerInfoRequest,  # noqa: ARG002 # it has no fields yet
        call: Call,  # noqa: ARG002 # the same for everybody
    ) -> gateway_pb2.GetServerInfoResponse:
        """Version, limits, what is switched on, and which models fail; and whether it stops."""
        info = gateway_pb2.GetServerInfoResponse(breakers=map(_breaker, self._breakers()), draining=self._draining())
        info.MergeFrom(self._info)
        return info


def _breaker(snapshot: BreakerSnapshot) -> gateway_pb2.Breaker:
    breaker = gateway_pb2.Breaker(
        model=snapshot.name,
        state=_STATES[snapshot.state],
        recent_failures=snapshot.failures,
        recent_attempts=snapshot.attempts,
    )
    if snapshot.state is BreakerState.OPEN:
        breaker.open_until.FromNanoseconds(time.time_ns() + int(snapshot.seconds_left * 1e9))
    return breaker
