"""What one would write first: ``grpc.aio`` in front, ``httpx.AsyncClient`` behind, one message an event.

The measure of what the gateway's own design gains. It is no straw man: uvloop, its own split of the events, a fast JSON
parser, fields set by hand. It has none of a gateway's duties: no validation, deadlines, retries, errors or telemetry.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import msgspec
import uvloop

from claude_grpc.v1 import messages_pb2, messages_pb2_grpc

_HEADERS = {"x-api-key": "bench", "anthropic-version": "2023-06-01"}


class _Messages(messages_pb2_grpc.MessagesServiceServicer):
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def CreateMessage(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 # gRPC's name
        response = await self._client.post("/v1/messages", json=_body(request))
        answer = messages_pb2.CreateMessageResponse()
        for block in response.json()["content"]:
            kind = block["type"]
            target = getattr(answer.message.content.add(type=kind), kind)
            for key, value in block.items():
                if key != "type":
                    setattr(target, key, value)
        return answer

    async def CountTokens(self, request: Any, context: Any) -> Any:  # noqa: N802 # gRPC's name
        raise NotImplementedError

    async def StreamMessage(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ARG002, N802 # gRPC's name
        body = {**_body(request), "stream": True}
        async with self._client.stream("POST", "/v1/messages", json=body) as response:
            rest = b""
            async for chunk in response.aiter_raw():
                *events, rest = (rest + chunk).split(b"\n\n")
                for event in events:
                    yield _message(msgspec.json.decode(event[event.index(b"data: ") + 6 :]))


def _body(request: Any) -> dict[str, Any]:
    params = request.params
    return {
        "model": params.model,
        "max_tokens": params.max_tokens,
        "messages": [{"role": "user", "content": message.text} for message in params.messages],
    }


def _message(event: dict[str, Any]) -> messages_pb2.StreamMessageResponse:
    message = messages_pb2.StreamMessageResponse(type=event["type"])
    match event["type"]:
        case "content_block_delta":
            target = message.content_block_delta
            target.index = event["index"]
            kind = event["delta"]["type"]
            target.delta.type = kind
            if kind == "text_delta":
                target.delta.text_delta.text = event["delta"]["text"]
            elif kind == "thinking_delta":
                target.delta.thinking_delta.thinking = event["delta"]["thinking"]
        case "message_stop":
            message.message_stop.SetInParent()
        case _:
            pass
    return message


async def _serve(upstream: str) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=upstream, headers=_HEADERS, limits=limits, timeout=600) as client:
        server = grpc.aio.server()
        messages_pb2_grpc.add_MessagesServiceServicer_to_server(_Messages(client), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(f"The plain build is at 127.0.0.1:{port}", flush=True)
        await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
