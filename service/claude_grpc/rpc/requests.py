"""A caller's requests on their way in: gRPC's bytes become messages, once there is room for them.

To gRPC every method is one that takes a stream of requests, although most have one. The bytes are the same, but so it
is for us to say when a request is read: after the layers have let the call in. Until then it stays with the caller.
"""

from __future__ import annotations

import asyncio
from typing import Any, Self

import grpc
from google.protobuf.message import DecodeError, Message

from claude_grpc.errors import InvalidRequestError, Violation
from claude_grpc.rpc.call import Call

__all__ = ["Requests"]

_LARGE = 1024 * 1024


class Requests:
    """One call's requests: iterates over all up to the caller's half-close, or has ``only`` one.

    If the call ends before, whoever waits for a request is cancelled. To gRPC the end of the requests is the same
    whether the caller half-closed, cancelled or died, and half an upload must not pass for a whole one. So at the end
    headers are sent, which only a caller that is there can be. To be left before the call's status is told.

    All raise `InvalidRequestError` for bytes that are no message of the method's type, and `RefusedError` if there is
    no room for them.

    Args:
        kind: What the requests are.
        call: Whose they are.
        context: gRPC's.
    """

    def __init__(self, kind: type[Message], call: Call, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._kind = kind
        self._call = call
        self._context = context
        self._headers: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        # With headers under way gRPC takes no status.
        if self._headers is not None:
            await asyncio.gather(self._headers, return_exceptions=True)

    async def only(self) -> Message:
        """The request of a method that has one."""
        request = await self._call.share.receive(self._read)
        if request is None:
            raise _invalid("The call must have a request message.")
        self._call.request_bytes = len(request)
        if len(request) > _LARGE:
            # To read it held up all others for as long as parsing will; between the two they have their turn.
            await asyncio.sleep(0)
        return self._parse(request)

    def __aiter__(self) -> Requests:
        return self

    async def __anext__(self) -> Message:
        request = await self._call.share.receive_next(self._read)
        if request is None:
            raise StopAsyncIteration
        return self._parse(request)

    async def _read(self) -> bytes | None:
        ledger = self._call.telemetry.ledger
        before = ledger.receiving()
        request = await self._next()
        # Not if that is cancelled: then this is what the call was doing at its end.
        ledger.received(before)
        return request

    async def _next(self) -> bytes | None:
        if self._headers is None:
            # Not gRPC's own iterator, which complains when it is not read to its end.
            request: Any = await self._context.read()
            if request is not grpc.aio.EOF:
                return bytes(request)
            self._headers = asyncio.ensure_future(self._context.send_initial_metadata(()))
        try:
            # Who reads may be cancelled meanwhile without the call's being so.
            await asyncio.shield(self._headers)
        except Exception:  # noqa: BLE001 # gRPC has no class for it
            raise asyncio.CancelledError from None
        return None

    def _parse(self, request: bytes) -> Message:
        try:
            return self._kind.FromString(request)
        except DecodeError:
            raise _invalid("The request must be a message of the method's type.") from None


def _invalid(description: str) -> InvalidRequestError:
    return InvalidRequestError([Violation("", description)])
