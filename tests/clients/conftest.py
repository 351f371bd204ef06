"""Fake gateways for the client's tests: real gRPC servers that play a script, one for asyncio and one of threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from claude_grpc.v1 import content_pb2, gateway_pb2, gateway_pb2_grpc, messages_pb2, messages_pb2_grpc

OK = grpc.StatusCode.OK


@dataclass
class Script:
    """What a fake does with each call: say ``events``, then end with ``code``, or hang until the caller ends it."""

    events: Sequence[messages_pb2.StreamMessageResponse] = ()
    message: messages_pb2.AssistantMessage = field(default_factory=messages_pb2.AssistantMessage)
    hangs: bool = False
    code: grpc.StatusCode = OK
    text: str = ""
    details: Sequence[Message] = ()
    trailers: Sequence[tuple[str, str | bytes]] = (("request-id", "req_1"),)

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        if not self.details:
            return tuple(self.trailers)
        status = status_pb2.Status(code=self.code.value[0], message=self.text)
        for detail in self.details:
            packed = PackedAny()
            packed.Pack(detail)
            status.details.append(packed)
        return (*self.trailers, ("grpc-status-details-bin", status.SerializeToString()))


class Fake:
    """What both fakes have: the script, and what was seen of the calls."""

    def __init__(self) -> None:
        self.target = ""
        self.script = Script()
        self.requests: list[Any] = []
        self.metadata: dict[str, str | bytes] = {}
        self.time_remaining = 0.0

    def play(self, **script: Any) -> None:
        self.script = Script(**script)

    def note(self, request: Message, context: Any) -> None:
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        self.time_remaining = context.time_remaining()


class AsyncFake(Fake, messages_pb2_grpc.MessagesServiceServicer, gateway_pb2_grpc.GatewayServiceServicer):
    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    async def CreateMessage(self, request: Any, context: Any) -> messages_pb2.CreateMessageResponse:  # noqa: N802
        self._begin(request, context)
        await self._end(context)
        return messages_pb2.CreateMessageResponse(message=self.script.message)

    async def StreamMessage(  # noqa: N802
        self, request: Any, context: Any
    ) -> AsyncIterator[messages_pb2.StreamMessageResponse]:
        self._begin(request, context)
        for event in self.script.events:
            yield event
        await self._end(context)

    async def CountTokens(self, request: Any, context: Any) -> messages_pb2.CountTokensResponse:  # noqa: N802
        self._begin(request, context)
        await self._end(context)
        return messages_pb2.CountTokensResponse(input_tokens=7)

    async def GetServerInfo(self, request: Any, context: Any) -> gateway_pb2.GetServerInfoResponse:  # noqa: N802
        self._begin(request, context)
        await self._end(context)
        return gateway_pb2.GetServerInfoResponse(version="1.2.3", simulated=True)

    def _begin(self, request: Message, context: Any) -> None:
        self.note(request, context)
        context.add_done_callback(lambda _: self.ended.set())
        self.begun.set()

    async def _end(self, context: Any) -> None:
        if self.script.hangs:
            await asyncio.Event().wait()
        context.set_trailing_metadata(self.script.trailing_metadata())
        if self.script.code is not OK:
            await context.abort(self.script.code, self.script.text, self.script.trailing_metadata())


class ThreadedFake(Fake, messages_pb2_grpc.MessagesServiceServicer, gateway_pb2_grpc.GatewayServiceServicer):
    def __init__(self) -> None:
        super().__init__()
        self.ended = threading.Event()

    def CreateMessage(self, request: Any, context: Any) -> messages_pb2.CreateMessageResponse:  # noqa: N802
        self._begin(request, context)
        self._end(context)
        return messages_pb2.CreateMessageResponse(message=self.script.message)

    def StreamMessage(  # noqa: N802
        self, request: Any, context: Any
    ) -> Iterator[messages_pb2.StreamMessageResponse]:
        self._begin(request, context)
        yield from self.script.events
        self._end(context)

    def CountTokens(self, request: Any, context: Any) -> messages_pb2.CountTokensResponse:  # noqa: N802
        self._begin(request, context)
        self._end(context)
        return messages_pb2.CountTokensResponse(input_tokens=7)

    def GetServerInfo(self, request: Any, context: Any) -> gateway_pb2.GetServerInfoResponse:  # noqa: N802
        self._begin(request, context)
        self._end(context)
        return gateway_pb2.GetServerInfoResponse(version="1.2.3", simulated=True)

    def _begin(self, request: Message, context: Any) -> None:
        self.note(request, context)
        # Refused if the call has ended already.
        if not context.add_callback(self.ended.set):
            self.ended.set()

    def _end(self, context: Any) -> None:
        if self.script.hangs:
            self.ended.wait(30)
        context.set_trailing_metadata(self.script.trailing_metadata())
        if self.script.code is not OK:
            context.abort(self.script.code, self.script.text)


def _add(fake: AsyncFake | ThreadedFake, server: grpc.Server | aio.Server) -> None:
    messages_pb2_grpc.add_MessagesServiceServicer_to_server(fake, server)
    gateway_pb2_grpc.add_GatewayServiceServicer_to_server(fake, server)


_SERVER_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0))


@pytest.fixture
async def fake() -> AsyncIterator[AsyncFake]:
    """A fake gateway in the test's event loop."""
    fake, server = AsyncFake(), aio.server(options=_SERVER_OPTIONS)
    _add(fake, server)
    port = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
    fake.target = f"127.0.0.1:{port}"
    await server.start()
    yield fake
    await server.stop(None)


@pytest.fixture
def threaded_fake() -> Iterator[ThreadedFake]:
    """A fake gateway in threads."""
    with ThreadPoolExecutor(4) as threads:
        fake, server = ThreadedFake(), grpc.server(threads, options=_SERVER_OPTIONS)
        _add(fake, server)
        fake.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        yield fake
        server.stop(None).wait()


@pytest.fixture
def answer() -> list[messages_pb2.StreamMessageResponse]:
    """All events of an answer: thinking ``Let me see.``, then text ``Hello world``."""
    return list(_answer())


def _answer() -> Iterable[messages_pb2.StreamMessageResponse]:
    response, block = messages_pb2.StreamMessageResponse, content_pb2.ContentBlock
    start = messages_pb2.AssistantMessage(id="msg_1", type="message", role=messages_pb2.ROLE_ASSISTANT, model="m")
    yield response(type="message_start", message_start=messages_pb2.MessageStart(message=start))
    yield _block_start(0, block(type="thinking", thinking=content_pb2.ThinkingBlock()))
    yield _delta(0, type="thinking_delta", thinking_delta=messages_pb2.ThinkingDelta(thinking="Let me "))
    yield _delta(0, type="thinking_delta", thinking_delta=messages_pb2.ThinkingDelta(thinking="see."))
    yield _delta(0, type="signature_delta", signature_delta=messages_pb2.SignatureDelta(signature="c2ln"))
    yield response(type="content_block_stop", content_block_stop=messages_pb2.ContentBlockStop(index=0))
    yield response(type="ping", ping=messages_pb2.Ping())
    yield _block_start(1, block(type="text", text=content_pb2.TextBlock()))
    yield _delta(1, type="text_delta", text_delta=messages_pb2.TextDelta(text="Hello "))
    yield _delta(1, type="text_delta", text_delta=messages_pb2.TextDelta(text="world"))
    yield response(type="content_block_stop", content_block_stop=messages_pb2.ContentBlockStop(index=1))
    yield response(type="newer_event", opaque_json='{"type":"newer_event"}')
    yield response(type="message_delta", message_delta=messages_pb2.MessageDelta())
    whole = messages_pb2.AssistantMessage(
        id="msg_1",
        role=messages_pb2.ROLE_ASSISTANT,
        stop_reason=messages_pb2.STOP_REASON_END_TURN,
        stop_reason_raw="end_turn",
        content=[
            block(type="thinking", thinking=content_pb2.ThinkingBlock(thinking="Let me see.", signature="c2ln")),
            block(type="text", text=content_pb2.TextBlock(text="Hello world")),
        ],
        usage=messages_pb2.Usage(
            input_tokens=12, output_tokens=34, cache_read_input_tokens=5, cache_creation_input_tokens=6
        ),
    )
    yield response(type="message_stop", message_stop=messages_pb2.MessageStop(message=whole))


def _block_start(index: int, block: content_pb2.ContentBlock) -> messages_pb2.StreamMessageResponse:
    start = messages_pb2.ContentBlockStart(index=index, content_block=block)
    return messages_pb2.StreamMessageResponse(type="content_block_start", content_block_start=start)


def _delta(index: int, **delta: Any) -> messages_pb2.StreamMessageResponse:
    piece = messages_pb2.ContentBlockDelta(index=index, delta=messages_pb2.BlockDelta(**delta))
    return messages_pb2.StreamMessageResponse(type="content_block_delta", content_block_delta=piece)


@pytest.fixture
def overloaded() -> dict[str, Any]:
    """A script's end as the gateway sends it: the Claude API is overloaded."""
    facts = {"requestId": "req_9", "httpStatus": "529", "errorType": "overloaded_error", "attempts": "3"}
    details = (
        error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="api.anthropic.com", metadata=facts),
        error_details_pb2.RetryInfo(retry_delay={"seconds": 1, "nanos": 500_000_000}),
    )
    return {"code": grpc.StatusCode.UNAVAILABLE, "text": "Overloaded", "details": details}


@pytest.fixture
def invalid() -> dict[str, Any]:
    """A script's end as the gateway sends it: the request is wrong in two places."""
    violation = error_details_pb2.BadRequest.FieldViolation
    violations = [violation(field="params.model", description="Must be set."), violation(field="params.messages")]
    details = (
        error_details_pb2.ErrorInfo(reason="INVALID_REQUEST_ERROR", metadata={"requestId": "req_9"}),
        error_details_pb2.BadRequest(field_violations=violations),
    )
    return {"code": grpc.StatusCode.INVALID_ARGUMENT, "text": "The request is not valid.", "details": details}
