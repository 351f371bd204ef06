from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio

from claude_grpc.v1 import messages_pb2
from claude_grpc_client import (
    AsyncClient,
    CallCancelledError,
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    UnavailableError,
)

QUESTION: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [("user", "Hi")]}


@pytest.fixture
async def client(fake: Any) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(fake.target, credentials=grpc.local_channel_credentials()) as client:
        yield client


async def test_create_returns_the_message(client: AsyncClient, fake: Any) -> None:
    fake.play(message=messages_pb2.AssistantMessage(id="msg_1"))
    message = await client.create(**QUESTION, betas=["a"])
    assert message.id == "msg_1"
    assert fake.requests[0].params.messages[0].text == "Hi"
    assert list(fake.requests[0].betas) == ["a"]


async def test_count_tokens_and_server_info_return_what_the_gateway_says(client: AsyncClient) -> None:
    assert (await client.count_tokens(model="m", messages=[("user", "Hi")])).input_tokens == 7
    assert (await client.server_info()).version == "1.2.3"


async def test_a_call_has_the_clients_deadline_or_its_own(fake: Any) -> None:
    async with AsyncClient(fake.target, credentials=grpc.local_channel_credentials(), timeout=1000) as client:
        await client.create(**QUESTION)
        assert 900 < fake.time_remaining < 1100
        await client.create(**QUESTION, timeout=50)
        assert 30 < fake.time_remaining < 70


async def test_headers_go_with_the_call(client: AsyncClient, fake: Any) -> None:
    await client.count_tokens(messages_pb2.MessageParams(), call_metadata=[("traceparent", "00-1-2-01")])
    assert fake.metadata["traceparent"] == "00-1-2-01"
    assert fake.metadata["user-agent"].startswith("claude-grpc-client/")


async def test_messages_over_grpcs_own_limit_pass_both_ways(client: AsyncClient, fake: Any) -> None:
    text = "x" * (8 << 20)
    fake.play(message=messages_pb2.AssistantMessage(id=text))
    message = await client.create(model="m", messages=[("user", text)])
    assert message.id == text
    assert fake.requests[0].params.messages[0].text == text


async def test_a_given_channel_is_not_closed(fake: Any) -> None:
    async with aio.secure_channel(fake.target, grpc.local_channel_credentials()) as channel:
        async with AsyncClient(channel=channel) as client:
            await client.server_info()
        assert channel.get_state() is grpc.ChannelConnectivity.READY


def test_a_client_may_be_older_than_the_event_loop() -> None:
    client = AsyncClient("127.0.0.1:1")

    async def call() -> None:
        async with client:
            await client.server_info()

    with pytest.raises(UnavailableError):
        asyncio.run(call())


async def test_a_stream_yields_every_event_in_order(client: AsyncClient, fake: Any, answer: Any) -> None:
    fake.play(events=answer, trailers=[("request-id", "req_1"), ("anthropic-ratelimit-requests-remaining", "9")])
    async with client.stream(**QUESTION) as stream:
        assert (stream.request_id, stream.trailers) == ("", {})
        assert [event async for event in stream] == answer
        assert stream.request_id == "req_1"
        assert stream.trailers["anthropic-ratelimit-requests-remaining"] == "9"
        assert await stream.final_message() == answer[-1].message_stop.message
    assert fake.requests[0].stream_options.include_final_message


async def test_the_text_stream_has_the_text_alone(client: AsyncClient, fake: Any, answer: Any) -> None:
    fake.play(events=answer)
    async with client.stream(**QUESTION) as stream:
        assert [text async for text in stream.text_stream] == ["Hello ", "world"]


async def test_the_final_message_takes_what_is_left(client: AsyncClient, fake: Any, answer: Any) -> None:
    fake.play(events=answer)
    async with client.stream(**QUESTION) as stream:
        assert await anext(stream) == answer[0]
        message = await stream.final_message()
        assert message.content[1].text.text == "Hello world"
        assert stream.request_id == "req_1"


async def test_an_end_without_the_final_message_is_an_error(client: AsyncClient, fake: Any, answer: Any) -> None:
    fake.play(events=answer[:-1])
    async with client.stream(**QUESTION) as stream:
        with pytest.raises(InternalError, match="without its final message") as caught:
            await stream.final_message()
    assert caught.value.partial
    assert caught.value.request_id == "req_1"


async def test_an_error_before_the_first_event_is_raised_decoded(
    client: AsyncClient, fake: Any, overloaded: Any
) -> None:
    fake.play(**overloaded)
    async with client.stream(**QUESTION) as stream:
        with pytest.raises(UnavailableError, match="Overloaded") as caught:
            await anext(stream)
        assert stream.request_id == "req_9"
    assert (caught.value.reason, caught.value.attempts, caught.value.partial) == ("OVERLOADED", 3, False)
    assert caught.value.retry_delay == 1.5
    assert isinstance(caught.value.__cause__, aio.AioRpcError)


async def test_an_error_in_the_middle_is_partial_and_stays(
    client: AsyncClient, fake: Any, answer: Any, overloaded: Any
) -> None:
    fake.play(events=answer[:3], **overloaded)
    async with client.stream(**QUESTION) as stream:
        with pytest.raises(UnavailableError) as caught:
            [event async for event in stream]
        assert caught.value.partial
        with pytest.raises(UnavailableError, match="Overloaded"):
            await stream.final_message()


async def test_a_unary_error_is_raised_decoded(client: AsyncClient, fake: Any, invalid: Any) -> None:
    fake.play(**invalid)
    with pytest.raises(InvalidRequestError) as caught:
        await client.create(**QUESTION)
    assert caught.value.violations == (("params.model", "Must be set."), ("params.messages", ""))
    assert caught.value.request_id == "req_9"


async def test_a_passed_deadline_is_raised(client: AsyncClient, fake: Any) -> None:
    fake.play(hangs=True)
    with pytest.raises(DeadlineExceededError):
        await client.create(**QUESTION, timeout=0.1)


async def test_leaving_the_context_early_cancels_the_call(client: AsyncClient, fake: Any, answer: Any) -> None:
    fake.play(events=answer[:3], hangs=True)
    async with client.stream(**QUESTION) as stream:
        async for _ in stream:
            break
    await fake.ended.wait()


async def test_leaving_the_context_before_the_first_event_cancels_the_call(client: AsyncClient, fake: Any) -> None:
    fake.play(hangs=True)
    async with client.stream(**QUESTION):
        await fake.begun.wait()
        assert not fake.ended.is_set()
    await fake.ended.wait()


async def test_an_error_of_the_caller_cancels_the_call_and_passes(client: AsyncClient, fake: Any, answer: Any) -> None:
    async def stumble() -> None:
        async with client.stream(**QUESTION) as stream:
            await anext(stream)
            raise ZeroDivisionError

    fake.play(events=answer[:3], hangs=True)
    with pytest.raises(ZeroDivisionError):
        await stumble()
    await fake.ended.wait()


async def test_a_cancelled_task_stays_cancelled_and_cancels_the_call(
    client: AsyncClient, fake: Any, answer: Any
) -> None:
    fake.play(events=answer[:1], hangs=True)
    has_begun = asyncio.Event()

    async def read() -> None:
        async with client.stream(**QUESTION) as stream:
            async for _ in stream:
                has_begun.set()

    task = asyncio.create_task(read())
    await has_begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await fake.ended.wait()


async def test_a_cancelled_create_stays_cancelled_and_cancels_the_call(client: AsyncClient, fake: Any) -> None:
    fake.play(hangs=True)
    task = asyncio.create_task(client.create(**QUESTION))
    await fake.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await fake.ended.wait()


async def test_a_reader_whose_stream_is_closed_elsewhere_gets_an_error(
    client: AsyncClient, fake: Any, answer: Any
) -> None:
    fake.play(events=answer[:1], hangs=True)
    async with client.stream(**QUESTION) as stream:
        await anext(stream)
        reader = asyncio.create_task(stream.final_message())
        await asyncio.sleep(0)
    with pytest.raises(CallCancelledError, match="was closed"):
        await reader


async def test_a_call_whose_client_is_closed_elsewhere_gets_an_error(fake: Any) -> None:
    fake.play(hangs=True)
    async with AsyncClient(fake.target, credentials=grpc.local_channel_credentials()) as client:
        caller = asyncio.create_task(client.create(**QUESTION))
        await fake.begun.wait()
    with pytest.raises(CallCancelledError, match="was closed"):
        await caller


async def test_reading_after_the_context_is_an_error(client: AsyncClient, fake: Any, answer: Any) -> None:
    fake.play(events=answer[:3], hangs=True)
    async with client.stream(**QUESTION) as stream:
        await anext(stream)
    for _ in range(2):
        with pytest.raises(CallCancelledError, match="was closed"):
            await stream.final_message()
