"""``claude_grpc.v1.GatewayService``: what a caller may want to know of the gateway."""

from __future__ import annotations

from claude_grpc.rpc.call import Call
from claude_grpc.v1 import gateway_pb2

__all__ = ["SCHEMA_REVISION", "GatewayServicer"]

SCHEMA_REVISION = 1
"""Raised by each release that adds an arm to a oneof or a value to an enum of a response."""


class GatewayServicer:
    """Tells what does not change while the process runs."""

    def __init__(self, info: gateway_pb2.GetServerInfoResponse) -> None:
        self._info = info

    async def get_server_info(
        self,
        request: gateway_pb2.GetServerInfoRequest,  # noqa: ARG002 # it has no fields yet
        call: Call,  # noqa: ARG002 # the same for everybody
    ) -> gateway_pb2.GetServerInfoResponse:
        """Version, limits and what is switched on."""
        return self._info
