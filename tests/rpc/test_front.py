"""The front: handlers of servicers, and that nothing of a bug gets out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from io import StringIO
from typing import Any

import grpc
import pytest

from claude_grpc.errors import SchemaError, UpstreamConnectionError
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.front import Front
from claude_grpc.rpc.layers import observe
from claude_grpc.telemetry.calls import Telemetry
from claude_grpc.telemetry.logs import configure_logging
from claude_grpc.v1 import messages_pb2
from claude_grpc.v1.messages_pb2_grpc import MessagesServiceStub
from support.stack import drain

SERVICE = messages_pb2.DESCRIPTOR.services_by_name["MessagesService"]
CANARY = "canary-text-of-an-exception"


class Servicer:
    """Does what the test asks for."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.closed = asyncio.Event()
        self.started = asyncio.Event()

    async def create_message(self, request: Any, call: Call) -> Any:
        self.calls.append(call)
        if request.betas:
            raise RuntimeError(CANARY)
        call.trailers["x-trailer"] = "1"
        return messages_pb2.CreateMessageResponse()

    async def stream_message(self, request: Any, call: Call) -> AsyncIterator[Any]:
        self.calls.append(call)
        try:
            yield messages_pb2.StreamMessageResponse(type="first")
            self.started.set()
            if request.betas == ["bug"]:
                raise RuntimeError(CANARY)
            if request.betas == ["error"]:
                raise UpstreamConnectionError("gone")
            if request.betas == ["hang"]:
                await asyncio.Event().wait()
            if request.betas == ["flood"]:
                while True:
                    yield messages_pb2.StreamMessageResponse(type="x" * 65536)
        finally:
            self.closed.set()

    async def count_tokens(self, request: Any, call: Call) -> Any:
        raise AssertionError


@asynccontextmanager
async def serving(servicer: Servicer, *layers: Any) -> AsyncIterator[Any]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Front(layers).handler(SERVICE, servicer),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield MessagesServiceStub(channel)  # type: ignore[no-untyped-call]
    finally:
        await server.stop(None)


@pytest.fixture
def log() -> Iterator[StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = StringIO()
    configure_logging("debug", "json", stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def lines(log: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


async def test_a_servicer_without_a_method_does_not_start() -> None:
    with pytest.raises(SchemaError, match="create_message"):
        Front().handler(SERVICE, object())


async def test_a_handler_sees_its_call_and_sets_trailers() -> None:
    servicer = Servicer()
    async with serving(servicer) as stub:
        call = stub.CreateMessage(messages_pb2.CreateMessageRequest(), timeout=30, metadata=[("x-a", "1")])
        ended = await drain(call)
    assert ended.trailers["x-trailer"] == "1"
    [seen] = servicer.calls
    assert seen.method == "claude_grpc.v1.MessagesService/CreateMessage"
    assert seen.metadata["x-a"] == "1"
    assert seen.deadline is not None
    assert 0 < seen.deadline - seen.started <= 30.5


@pytest.mark.parametrize("kind", ["CreateMessage", "StreamMessage"])
async def test_a_bug_gets_out_as_an_id_that_the_log_knows(kind: str, log: StringIO) -> None:
    async with serving(Servicer(), observe(Telemetry())) as stub:
        request = messages_pb2.CreateMessageRequest if kind == "CreateMessage" else messages_pb2.StreamMessageRequest
        ended = await drain(getattr(stub, kind)(request(betas=["bug"])))
    assert ended.code is grpc.StatusCode.INTERNAL
    assert CANARY not in ended.message + str(ended.trailers) + str(ended.info)
    [bug] = [line for line in lines(log) if line["level"] == "error"]
    assert bug["error_id"] == ended.info.metadata["errorId"]
    assert "in create_message\n" in bug["where"] or "in stream_message\n" in bug["where"]
    assert "RuntimeError" in bug["where"]
    assert CANARY not in log.getvalue()


async def test_an_error_after_the_first_message_ends_the_stream_with_its_code(log: StringIO) -> None:
    async with serving(Servicer(), observe(Telemetry())) as stub:
        ended = await drain(stub.StreamMessage(messages_pb2.StreamMessageRequest(betas=["error"])))
    assert (ended.types, ended.code) == (["first"], grpc.StatusCode.UNAVAILABLE)
    [line] = [line for line in lines(log) if line["logger"] == "claude_grpc.call"]
    assert (line["code"], line["reason"]) == ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE")


@pytest.mark.parametrize("what", ["hang", "flood"])
async def test_a_cancelled_stream_closes_the_servicers_generator(what: str, log: StringIO) -> None:
    servicer = Servicer()
    async with serving(servicer, observe(Telemetry())) as stub:
        call = stub.StreamMessage(messages_pb2.StreamMessageRequest(betas=[what]))
        await call.read()
        await servicer.started.wait()
        call.cancel()
        await servicer.closed.wait()
    assert [line["code"] for line in lines(log) if line["logger"] == "claude_grpc.call"] == ["CANCELLED"]


async def test_a_deadline_is_told_from_a_cancel(log: StringIO) -> None:
    servicer = Servicer()
    async with serving(servicer, observe(Telemetry())) as stub:
        ended = await drain(stub.StreamMessage(messages_pb2.StreamMessageRequest(betas=["hang"]), timeout=0.3))
        await servicer.closed.wait()
    assert ended.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert [line["code"] for line in lines(log) if line["logger"] == "claude_grpc.call"] == ["DEADLINE_EXCEEDED"]


async def test_layers_are_entered_from_the_outside_and_left_from_the_inside() -> None:
    order: list[str] = []

    def layer(name: str) -> Any:
        async def around(call: Call, proceed: Callable[[], Awaitable[None]]) -> None:
            order.append(f"{name} in")
            await proceed()
            order.append(f"{name} out {call.status.code.name if call.status else 'OK'}")

        return around

    async with serving(Servicer(), layer("a"), layer("b")) as stub:
        await stub.CreateMessage(messages_pb2.CreateMessageRequest())
    assert order == ["a in", "b in", "b out OK", "a out OK"]
