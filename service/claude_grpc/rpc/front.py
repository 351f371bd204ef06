"""The only room that knows ``grpc.aio``'s context: makes handlers of servicers, and tells gRPC how they ended.

A servicer's method takes the request and a `Call`, and returns a message or an async iterator of messages. It raises
errors of the tree and never aborts. Cancellation is asyncio's own: it travels through the servicer down to the socket.

To gRPC every method is one that takes a stream of requests, although there is one. The bytes are the same, but so it is
for us to say when the request is read: after the layers have let the call in. Until then it stays with the caller.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from functools import partial
from typing import Any, cast

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from claude_grpc.errors import (
    InvalidRequestError,
    RefusedError,
    RequestError,
    SchemaError,
    UpstreamError,
    Violation,
)
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.drain import RunningCalls
from claude_grpc.rpc.relay import Relay
from claude_grpc.rpc.status import bug_status, status_of
from claude_grpc.telemetry.logs import where_it_failed

__all__ = ["Front", "Layer"]

Layer = Callable[[Call], AbstractAsyncContextManager[None]]
"""Stands around every call of whatever kind: entered before the handler, left when the call has ended.

On leaving, ``call.status`` says how the call failed; a cancelled call shows as `asyncio.CancelledError`. A layer may
raise an error of the tree on entering, instead of letting the call in.
"""

_Context = grpc.aio.ServicerContext[Any, Any]

_log = logging.getLogger(__name__)


class Front:
    """Makes gRPC handlers of servicers.

    Args:
        layers: From the outermost to the innermost.
        silence: Seconds without a message after which a stream's keepalive is sent, where it has one.

    Attributes:
        calls: Those that run.
    """

    def __init__(self, layers: Sequence[Layer] = (), *, silence: float = 15.0) -> None:
        self.calls = RunningCalls()
        self._layers = tuple(layers)
        self._silence = silence

    def handler(self, service: ServiceDescriptor, servicer: object) -> grpc.GenericRpcHandler:
        """The handler of a whole service.

        Raises:
            SchemaError: The servicer lacks a method of the service.
        """
        handlers = {method.name: self._method_handler(method, servicer) for method in service.methods}
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    def _method_handler(self, method: MethodDescriptor, servicer: object) -> grpc.RpcMethodHandler[Any, Any]:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower()
        handle = getattr(servicer, name, None)
        if handle is None:
            raise SchemaError(f"{type(servicer).__name__} has no method {name} for {method.full_name}")
        serialize = message_factory.GetMessageClass(method.output_type).SerializeToString
        if method.server_streaming:
            return grpc.stream_stream_rpc_method_handler(self._stream(method, handle), response_serializer=serialize)
        return grpc.stream_unary_rpc_method_handler(self._unary(method, handle), response_serializer=serialize)

    def _unary(self, method: MethodDescriptor, handle: Callable[[Any, Call], Awaitable[Message]]) -> Any:
        receive = partial(_receive, message_factory.GetMessageClass(method.input_type))

        async def behaviour(_: object, context: _Context) -> Message | None:
            answer: Message | None = None

            async def run(call: Call) -> None:
                nonlocal answer
                answer = await handle(await receive(call, context), call)

            await self._run(method, context, run)
            return answer

        return behaviour

    def _stream(self, method: MethodDescriptor, handle: Callable[[Any, Call], AsyncIterator[Message]]) -> Any:
        receive = partial(_receive, message_factory.GetMessageClass(method.input_type))

        async def behaviour(_: object, context: _Context) -> None:
            async def run(call: Call) -> None:
                # Closed here and now, whatever ends the call: upstream's socket hangs on it.
                answers = handle(await receive(call, context), call)
                async with aclosing(answers), Relay(call, context.write, self._silence) as relay:  # type: ignore[type-var] # they are generators
                    async for answer in answers:
                        await relay.write(answer)

            await self._run(method, context, run)

        return behaviour

    async def _run(self, method: MethodDescriptor, context: _Context, run: Callable[[Call], Awaitable[None]]) -> None:
        call = _call(method, context)
        async with AsyncExitStack() as stack:
            await _note_failure(call, context, self._enter(call, stack, run))
        if call.status is None:
            context.set_trailing_metadata(tuple(call.trailers.items()))
            return
        trailers = {**call.trailers, **call.status.trailers}
        await context.abort(call.status.code, call.status.message, tuple(trailers.items()))

    async def _enter(self, call: Call, stack: AsyncExitStack, run: Callable[[Call], Awaitable[None]]) -> None:
        async with self.calls.running(call):
            for layer in self._layers:
                await stack.enter_async_context(layer(call))
            await run(call)


async def _receive(kind: type[Message], call: Call, context: _Context) -> Message:
    request = await call.share.receive(partial(_read, context))
    call.request_bytes = len(request)
    try:
        return kind.FromString(request)
    except DecodeError:
        raise InvalidRequestError([Violation("", "The request must be a message of the method's type.")]) from None


async def _read(context: _Context) -> bytes:
    request: Any = await context.read()
    if request is not grpc.aio.EOF:
        return bytes(request)
    # There is none: the caller is gone, or has not kept to the method's kind. Only to one that is there can headers go.
    try:
        await context.send_initial_metadata(())
    except Exception:  # noqa: BLE001 # gRPC has no class for it
        raise asyncio.CancelledError from None
    raise InvalidRequestError([Violation("", "The call must have a request message.")])


async def _note_failure(call: Call, context: _Context, running: Awaitable[None]) -> None:
    try:
        await running
    except (RequestError, RefusedError) as error:
        call.status = status_of(error)
    except UpstreamError as error:
        call.answered(error.context)
        call.status = status_of(error)
    except Exception as error:  # noqa: BLE001 # whatever it is, it must end as a status
        if context.done():
            # The caller left while a message was being written; gRPC reports that as an error of the write.
            raise asyncio.CancelledError from None
        call.status, call.telemetry.error_id = bug_status()
        # Without the exception's text, which may quote the request.
        extra = {"method": call.method, "error_id": call.telemetry.error_id, "where": where_it_failed(error)}
        _log.error("A handler failed", extra=extra)


def _call(method: MethodDescriptor, context: _Context) -> Call:
    # Its type says float, but it is None for a caller that waits for ever.
    left = cast("float | None", context.time_remaining())
    return Call(
        method=f"{method.containing_service.full_name}/{method.name}",
        # Keys that end in -bin have bytes, and nobody asks for those.
        metadata={key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)},
        deadline=None if left is None else time.monotonic() + left,
    )
