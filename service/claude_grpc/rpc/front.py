"""The only room that knows ``grpc.aio``'s context: makes handlers of servicers, and tells gRPC how they ended.

A servicer's method takes the request, or an async iterator of requests, and a `Call`, and returns a message or an async
iterator of messages. It raises errors of the tree and never aborts. Cancellation is asyncio's own: it travels through
the servicer down to the socket.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, cast

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from claude_grpc.errors import RefusedError, RequestError, SchemaError, UpstreamError
from claude_grpc.rpc.call import Call, snake_case
from claude_grpc.rpc.drain import RunningCalls
from claude_grpc.rpc.relay import Relay
from claude_grpc.rpc.requests import Requests
from claude_grpc.rpc.status import bug_status, status_of
from claude_grpc.telemetry.logs import where_it_failed

__all__ = ["Front", "Layer"]

Layer = Callable[[Call, Callable[[], Awaitable[None]]], Awaitable[None]]
"""Stands around every call of whatever kind: given the call, and how to proceed with it.

Once that returns ``call.status`` says how the call failed; it raises nothing but `asyncio.CancelledError`. A layer may
raise an error of the tree instead of letting the call proceed.
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
        self._layers = (*layers, self.calls.layer)
        self._silence = silence

    def handler(self, service: ServiceDescriptor, servicer: object) -> grpc.GenericRpcHandler:
        """The handler of a whole service.

        Raises:
            SchemaError: The servicer lacks a method of the service.
        """
        handlers = {method.name: self._method_handler(method, servicer) for method in service.methods}
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    def _method_handler(self, method: MethodDescriptor, servicer: object) -> grpc.RpcMethodHandler[Any, Any]:
        name = snake_case(method.name)
        handle = getattr(servicer, name, None)
        if handle is None:
            raise SchemaError(f"{type(servicer).__name__} has no method {name} for {method.full_name}")
        serialize = message_factory.GetMessageClass(method.output_type).SerializeToString
        if method.server_streaming:
            return grpc.stream_stream_rpc_method_handler(self._stream(method, handle), response_serializer=serialize)
        return grpc.stream_unary_rpc_method_handler(self._unary(method, handle), response_serializer=serialize)

    def _unary(self, method: MethodDescriptor, handle: Callable[[Any, Call], Awaitable[Message]]) -> Any:
        kind = message_factory.GetMessageClass(method.input_type)

        async def behaviour(_: object, context: _Context) -> Message | None:
            call = _call(method, context)
            answer: Message | None = None

            async def run() -> None:
                nonlocal answer
                async with Requests(kind, call, context) as requests:
                    answer = await handle(requests if method.client_streaming else await requests.only(), call)

            await self._proceed(0, call, run)
            await _end(call, context)
            return answer

        return behaviour

    def _stream(self, method: MethodDescriptor, handle: Callable[[Any, Call], AsyncGenerator[Message, None]]) -> Any:
        kind = message_factory.GetMessageClass(method.input_type)

        async def behaviour(_: object, context: _Context) -> None:
            call = _call(method, context)

            async def run() -> None:
                async with Requests(kind, call, context) as requests:
                    answers = handle(await requests.only(), call)
                    # Closed here and now, whatever ends the call: upstream's socket hangs on it.
                    async with aclosing(answers), Relay(call, context.write, self._silence) as relay:
                        async for answer in answers:
                            await relay.write(answer)

            await self._proceed(0, call, run)
            await _end(call, context)

        return behaviour

    async def _proceed(self, depth: int, call: Call, run: Callable[[], Awaitable[None]]) -> None:
        """Go on with a call within so many of the layers; how that fails becomes the call's status."""
        try:
            if depth < len(self._layers):
                await self._layers[depth](call, partial(self._proceed, depth + 1, call, run))
            else:
                await run()
        except (RequestError, RefusedError) as error:
            call.status = status_of(error)
        except UpstreamError as error:
            call.answered(error.context)
            call.status = status_of(error)
        except grpc.aio.InternalError:
            # The caller left while a message was being written; gRPC reports that as an error of the write.
            raise asyncio.CancelledError from None
        except Exception as error:  # noqa: BLE001 # whatever it is, it must end as a status
            call.status, call.telemetry.error_id = bug_status()
            # Without the exception's text, which may quote the request.
            extra = {"method": call.method, "error_id": call.telemetry.error_id, "where": where_it_failed(error)}
            _log.error("A handler failed", extra=extra)


async def _end(call: Call, context: _Context) -> None:
    """Tell gRPC how the call has ended."""
    if call.status is None:
        context.set_trailing_metadata(tuple(call.trailers.items()))
        return
    trailers = {**call.trailers, **call.status.trailers}
    try:
        await context.abort(call.status.code, call.status.message, tuple(trailers.items()))
    except grpc.aio.InternalError:
        # A status that cannot be sent means the same as a message that cannot.
        raise asyncio.CancelledError from None


def _call(method: MethodDescriptor, context: _Context) -> Call:
    # Its type says float, but it is None for a caller that waits for ever.
    left = cast("float | None", context.time_remaining())
    metadata: Any = context.invocation_metadata() or ()
    return Call(
        method=f"{method.containing_service.full_name}/{method.name}",
        # Keys that end in -bin have bytes, and nobody asks for those.
        metadata={key: value for key, value in metadata if isinstance(value, str)},
        deadline=None if left is None else time.monotonic() + left,
    )
