"""The only room that knows ``grpc.aio``'s context: makes handlers of servicers, and tells gRPC how they ended.

A servicer's method takes the request, or an async iterator of requests, and a `Call`, and returns a message or an async
iterator of messages. It raises errors of the tree and never aborts. Cancellation is asyncio's own: it travels through
the servicer down to the socket.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from typing import Any, cast

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from claude_grpc.errors import RefusedError, RequestError, SchemaError, UpstreamError
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.status import bug_status, status_of

__all__ = ["Front", "Layer"]

Layer = Callable[[Call], AbstractAsyncContextManager[None]]
"""Stands around every call of whatever kind: entered before the handler, left when the call has ended.

On leaving, ``call.status`` says how the call failed; a cancelled call shows as `asyncio.CancelledError`.
"""

_Context = grpc.aio.ServicerContext[Any, Any]

_log = logging.getLogger(__name__)


class Front:
    """Makes gRPC handlers of servicers.

    Args:
        layers: From the outermost to the innermost.
    """

    def __init__(self, layers: Sequence[Layer] = ()) -> None:
        self._layers = tuple(layers)

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
        make, behaviour = self._arity(method)
        handler: grpc.RpcMethodHandler[Any, Any] = make(
            behaviour(method, handle),
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=message_factory.GetMessageClass(method.output_type).SerializeToString,
        )
        return handler

    def _arity(self, method: MethodDescriptor) -> tuple[Callable[..., Any], Callable[..., Any]]:
        if method.client_streaming:
            return grpc.stream_unary_rpc_method_handler, self._upload
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler, self._stream
        return grpc.unary_unary_rpc_method_handler, self._unary

    def _unary(self, method: MethodDescriptor, handle: Callable[[Any, Call], Awaitable[Message]]) -> Any:
        async def behaviour(request: Message, context: _Context) -> Message | None:
            answer: Message | None = None

            async def run(call: Call) -> None:
                nonlocal answer
                answer = await handle(request, call)

            await self._run(method, context, run)
            return answer

        return behaviour

    def _stream(self, method: MethodDescriptor, handle: Callable[[Any, Call], AsyncIterator[Message]]) -> Any:
        async def behaviour(request: Message, context: _Context) -> None:
            async def run(call: Call) -> None:
                # Closed here and now, whatever ends the call: upstream's socket hangs on it.
                async with aclosing(handle(request, call)) as answers:  # type: ignore[type-var] # they are generators
                    async for answer in answers:
                        await context.write(answer)

            await self._run(method, context, run)

        return behaviour

    def _upload(self, method: MethodDescriptor, handle: Callable[[Any, Call], Awaitable[Message]]) -> Any:
        async def handle_all(requests: _Requests, call: Call) -> Message:
            try:
                return await handle(requests, call)
            finally:
                await requests.settle()

        unary = self._unary(method, handle_all)

        async def behaviour(_: object, context: _Context) -> Message | None:
            answer: Message | None = await unary(_Requests(context), context)
            return answer

        return behaviour

    async def _run(self, method: MethodDescriptor, context: _Context, run: Callable[[Call], Awaitable[None]]) -> None:
        call = _call(method, context)
        async with AsyncExitStack() as stack:
            for layer in self._layers:
                await stack.enter_async_context(layer(call))
            await _note_failure(call, context, run(call))
        if call.status is None:
            context.set_trailing_metadata(tuple(call.trailers.items()))
            return
        trailers = {**call.trailers, **call.status.trailers}
        await context.abort(call.status.code, call.status.message, tuple(trailers.items()))


class _Requests:
    """A caller's messages, up to its half-close; if the call ends before, whoever waits for one is cancelled.

    To gRPC the end of the messages is the same whether the caller half-closed, cancelled or died, and half an upload
    must not pass for a whole one. So at the end headers are sent, which only a caller that is there can be.
    """

    def __init__(self, context: _Context) -> None:
        self._context = context
        self._headers: asyncio.Future[None] | None = None

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        if self._headers is None:
            # Not gRPC's own iterator, which complains when it is not read to its end.
            message: Message | object = await self._context.read()
            if isinstance(message, Message):
                return message
            self._headers = asyncio.ensure_future(self._context.send_initial_metadata(()))
        try:
            # Who reads may be cancelled meanwhile without the call's being so.
            await asyncio.shield(self._headers)
        except Exception:  # noqa: BLE001 # gRPC has no class for it
            raise asyncio.CancelledError from None
        raise StopAsyncIteration

    async def settle(self) -> None:
        """Wait until headers that were begun are sent, for with them under way gRPC takes no status."""
        if self._headers is not None:
            await asyncio.gather(self._headers, return_exceptions=True)


async def _note_failure(call: Call, context: _Context, running: Awaitable[None]) -> None:
    try:
        await running
    except (RequestError, RefusedError) as error:
        call.status = status_of(error)
    except UpstreamError as error:
        call.answered(error.context)
        call.status = status_of(error)
    except Exception:  # noqa: BLE001 # whatever it is, it must end as a status
        if context.done():
            # The caller left while a message was being written; gRPC reports that as an error of the write.
            raise asyncio.CancelledError from None
        call.status, error_id = bug_status()
        _log.exception("A handler failed", extra={"method": call.method, "error_id": error_id})


def _call(method: MethodDescriptor, context: _Context) -> Call:
    # Its type says float, but it is None for a caller that waits for ever.
    left = cast("float | None", context.time_remaining())
    return Call(
        method=f"{method.containing_service.full_name}/{method.name}",
        # Keys that end in -bin have bytes, and nobody asks for those.
        metadata={key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)},
        deadline=None if left is None else time.monotonic() + left,
    )
