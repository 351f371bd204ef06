"""A simulator on a free port, and a plain HTTP client that shows every byte of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from claude_grpc.simulator import Simulator, SimulatorOptions

HEADERS = {"x-api-key": "any", "anthropic-version": "2026-10-21"}


@dataclass
class Reply:
    """One answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"]["message"])

    @property
    def frames(self) -> list[str]:
        return self.body.decode().split("\n\n")[:-1]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(frame.partition("\ndata: ")[2]) for frame in self.frames]

    @property
    def kinds(self) -> list[str]:
        return [frame.partition("\n")[0].removeprefix("event: ") for frame in self.frames]


class Asker:
    """Sends requests to one simulator; what is not said is a short valid request."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self.session = session
        self.base_url = base_url

    def body(self, text: str | list[Any] = "Hello", **parameters: Any) -> dict[str, Any]:
        messages = text if isinstance(text, list) else [{"role": "user", "content": text}]
        return {"model": "claude-sonnet-5", "max_tokens": 4096, "messages": messages, **parameters}

    def open(self, body: Any, path: str = "/v1/messages", **headers: str | None) -> Any:
        raw = json.dumps(body).encode() if isinstance(body, dict) else body
        named = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in named.items() if value is not None}
        return self.session.post(self.base_url + path, data=raw, headers=sent)

    async def post(self, body: Any, path: str = "/v1/messages", **headers: str | None) -> Reply:
        async with self.open(body, path, **headers) as response:
            return Reply(response.status, response.headers, await response.read())

    async def __call__(self, text: str | list[Any] = "Hello", **parameters: Any) -> Reply:
        return await self.post(self.body(text, **parameters))

    async def count(self, text: str | list[Any] = "Hello", **parameters: Any) -> Reply:
        body = self.body(text, **parameters)
        del body["max_tokens"]
        return await self.post(body, "/v1/messages/count_tokens")


@pytest.fixture
def options() -> SimulatorOptions:
    return SimulatorOptions()


@pytest.fixture
async def simulator(options: SimulatorOptions) -> AsyncIterator[Simulator]:
    async with Simulator(options) as simulator:
        yield simulator


@pytest.fixture
async def ask(simulator: Simulator) -> AsyncIterator[Asker]:
    async with aiohttp.ClientSession() as session:
        yield Asker(session, simulator.base_url)


@pytest.fixture
def weather_tool() -> dict[str, Any]:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
    return {"name": "get_weather", "description": "Tells the weather.", "input_schema": schema}


@pytest.fixture
def turn_of() -> Callable[..., list[dict[str, Any]]]:
    """Build a user message, the answer to it as it came, and what the user says next."""

    def build(text: str, reply: Reply, following: str | list[Any]) -> list[dict[str, Any]]:
        return [
            {"role": "user", "content": text},
            {"role": "assistant", "content": reply.json["content"]},
            {"role": "user", "content": following},
        ]

    return build


@pytest.fixture
def merge() -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """Make of a stream's events the message that they add up to, as a client does."""
    return _merge


def _merge(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client makes of the events."""
    message: dict[str, Any] = {}
    inputs: dict[int, str] = {}
    for event in events:
        blocks = message.get("content", [])
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                assert event["index"] == len(blocks)
                blocks.append(event["content_block"])
                if event["content_block"]["type"] == "fallback":
                    message["model"] = event["content_block"]["to"]["model"]
            case "content_block_delta":
                _apply(blocks[event["index"]], event["delta"], inputs, event["index"])
            case "content_block_stop" if event["index"] in inputs:
                blocks[event["index"]]["input"] = json.loads(inputs[event["index"]])
            case "message_delta":
                message |= {key: event[key] for key in event.keys() - {"type", "delta", "usage"}} | event["delta"]
                message["usage"] |= event["usage"]
    return message


def _apply(block: dict[str, Any], delta: dict[str, Any], inputs: dict[int, str], index: int) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "citations_delta":
            block["citations"].append(delta["citation"])
        case "compaction_delta":
            block |= {key: delta[key] for key in ("content", "encrypted_content")}
        case "input_json_delta":
            inputs[index] = inputs.get(index, "") + delta["partial_json"]
