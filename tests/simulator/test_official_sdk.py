"""The official SDK as a client: what it is happy with, a client of the real API is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import AsyncAnthropic

from claude_grpc.simulator import RawAnswer, Simulator

MODEL = "claude-sonnet-5"
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: Any = [{"name": "get_weather", "input_schema": SCHEMA}]
VERSION_2023 = {"anthropic-version": "2023-06-01"}


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(api_key="any", base_url=simulator.base_url, max_retries=0) as client:
        yield client


def question(text: str = "Why?", **parameters: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "max_tokens": 4096, "messages": messages, **parameters}


async def test_create(client: AsyncAnthropic, simulator: Simulator) -> None:
    message = await client.messages.create(**question())
    assert [block.type for block in message.content] == ["text"]
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0
    assert message._request_id == simulator.requests[0].request_id
    assert simulator.requests[0].headers["authorization"] == "Bearer any"


async def test_an_auth_token_and_the_older_version(simulator: Simulator) -> None:
    async with AsyncAnthropic(
        auth_token="token", base_url=simulator.base_url, default_headers=VERSION_2023, max_retries=0
    ) as client:
        message = await client.messages.create(**question(extra_body={"temperature": 0.5}))
        assert message.stop_reason == "end_turn"


async def test_the_newest_version_refuses_sampling(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        await client.messages.create(**question(extra_body={"temperature": 1}))


async def test_count_tokens(client: AsyncAnthropic) -> None:
    body = question(tools=TOOLS, thinking=THINKING)
    message = await client.messages.create(**body)
    del body["max_tokens"]
    assert (await client.messages.count_tokens(**body)).input_tokens == message.usage.input_tokens
    beta = await client.beta.messages.count_tokens(**body)
    assert beta.input_tokens == message.usage.input_tokens


@pytest.mark.parametrize("thinking", [THINKING, {"type": "adaptive", "display": "omitted"}])
async def test_a_stream_adds_up_to_the_message(client: AsyncAnthropic, thinking: Any) -> None:
    body = question("Use the tool.", thinking=thinking, tools=TOOLS)
    async with client.messages.stream(**body) as stream:
        kinds = {event.type async for event in stream}
        streamed = await stream.get_final_message()
    assert {"message_start", "content_block_delta", "text", "signature", "input_json", "message_stop"} <= kinds
    assert ("thinking" in kinds) is (thinking is THINKING)
    message = await client.messages.create(**body)
    parsed = {"parsed_output"}
    assert [block.model_dump(exclude=parsed) for block in streamed.content] == [
        block.model_dump(exclude=parsed) for block in message.content
    ]
    assert (streamed.id, streamed.stop_reason) == (message.id, "tool_use")
    assert streamed.usage.output_tokens == message.usage.output_tokens


async def test_the_text_of_a_stream(client: AsyncAnthropic) -> None:
    async with client.messages.stream(**question()) as stream:
        texts = [text async for text in stream.text_stream]
    assert "".join(texts).startswith("You asked: “Why?”")


async def test_a_conversation_with_tools_and_signed_thinking(client: AsyncAnthropic) -> None:
    messages: list[Any] = [{"role": "user", "content": "Use the tool. [[redacted-thinking]]"}]
    body: Any = {"model": MODEL, "max_tokens": 4096, "thinking": THINKING, "tools": TOOLS}
    async with client.messages.stream(**body, messages=messages) as stream:
        called = await stream.get_final_message()
    call = called.content[-1]
    assert call.type == "tool_use"
    assert call.input == {"city": "city"}
    messages.append({"role": "assistant", "content": called.content})
    messages.append(
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "18 degrees"}]}
    )
    answered = await client.messages.create(**body, messages=messages)
    text = answered.content[-1]
    assert text.type == "text"
    assert text.text == "The tool answered: “18 degrees”."
    thinking = called.content[0]
    assert thinking.type == "thinking"
    thinking.thinking += " And more."
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.1\.content\.0: Invalid `signature` in `thinking`"):
        await client.messages.create(**body, messages=messages)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError),
        (409, anthropic.ConflictError),
        (413, anthropic.APIStatusError),
        (422, anthropic.UnprocessableEntityError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (503, anthropic.InternalServerError),
        (529, anthropic.InternalServerError),
    ],
)
async def test_errors_are_the_sdks_own(client: AsyncAnthropic, status: int, error: type[Any]) -> None:
    with pytest.raises(error) as raised:
        await client.messages.create(**question(f"[[error {status}]]"))
    assert raised.value.status_code == status
    assert raised.value.request_id.startswith("req_")


async def test_an_error_event_is_raised_by_the_stream(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.APIStatusError) as raised:
        async with client.messages.stream(**question("[[error-event at=4]]")) as stream:
            await stream.until_done()
    assert raised.value.type == "overloaded_error"


@pytest.mark.parametrize("directive", ["reset", "truncate"])
async def test_a_broken_stream_is_an_error_of_the_connection(client: AsyncAnthropic, directive: str) -> None:
    with pytest.raises(httpx2.TransportError):
        async with client.messages.stream(**question(f"[[{directive}]]")) as stream:
            await stream.until_done()


async def test_a_retry_gets_through(simulator: Simulator) -> None:
    simulator.script("error 429 retry-after-ms=1", "error 529 retry-after-ms=1")
    async with AsyncAnthropic(api_key="any", base_url=simulator.base_url, max_retries=2) as client:
        assert (await client.messages.create(**question())).stop_reason == "end_turn"
    counts = [exchange.headers["x-stainless-retry-count"] for exchange in simulator.requests]
    assert counts == ["0", "1", "2"]


async def test_an_unknown_beta_is_refused(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="Unsupported beta header"):
        await client.beta.messages.create(**question(betas=["tomorrow-2027-01-01"]))


async def test_what_the_sdk_has_not_heard_of_is_no_error(client: AsyncAnthropic) -> None:
    unknown = "[[unknown-block]] [[unknown-event]] [[unknown-delta]] [[unknown-stop-reason]] [[extra-field]]"
    async with client.messages.stream(**question(unknown)) as stream:
        kinds = [event.type async for event in stream]
        message = await stream.get_final_message()
    assert "future_event" in kinds
    assert [block.type for block in message.content] == ["future_block", "text"]
    assert str(message.stop_reason) == "future_stop_reason"


async def test_the_client_goes_and_the_stream_closes(client: AsyncAnthropic, simulator: Simulator) -> None:
    async with client.messages.stream(**question("[[stall at=4]]")) as stream:
        assert (await anext(aiter(stream))).type == "message_start"
    exchange = await simulator.wait_closed(await simulator.wait_request())
    assert exchange.closed_early


async def test_a_raw_answer_reaches_the_sdk(client: AsyncAnthropic, simulator: Simulator) -> None:
    simulator.script(RawAnswer((b'{"input_tokens": 7}',), content_type="application/json"))
    count: Callable[..., Any] = client.messages.count_tokens
    assert (await count(model=MODEL, messages=[{"role": "user", "content": "Hi"}])).input_tokens == 7
