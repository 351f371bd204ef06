"""The ways to Claude that the load generator takes: a gateway's stubs, and the API's own HTTP."""

from __future__ import annotations

import argparse
import base64
import itertools
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Protocol, Self

import aiohttp
import grpc

from claude_grpc.v1 import messages_pb2, messages_pb2_grpc

__all__ = ["Api", "GrpcApi", "HttpApi"]

_MAX_TOKENS = 1000
_DEADLINE_SECONDS = 60.0
# 5 MB in base64.
_IMAGE = bytes(3_750_000)

Read = Callable[[bytes], None]


class Api(Protocol):
    """A way to Claude; each method raises if the answer is not whole."""

    async def __aenter__(self) -> Self:
        """Get ready."""

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""

    async def stream(self, prompt: str, read: Read) -> None:
        """Open an answer and call ``read`` with the text of each message."""

    async def create(self, prompt: str) -> None:
        """Wait for a whole answer."""

    async def create_with_image(self, prompt: str) -> None:
        """Wait for a whole answer to a picture of 5 MB."""


class GrpcApi:
    """A gateway, over several connections in turn."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        options = self._options
        count = max(1, min(options.connections, options.streams + options.inflight))
        stubs = []
        for _ in range(count):
            channel = grpc.aio.insecure_channel(
                options.target.removeprefix("grpc://"), options=[("grpc.use_local_subchannel_pool", 1)]
            )
            await self._stack.enter_async_context(channel)
            stubs.append(messages_pb2_grpc.MessagesServiceStub(channel))
        self._stubs = itertools.cycle(stubs)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def stream(self, prompt: str, read: Read) -> None:
        request: Any = messages_pb2.StreamMessageRequest(params=self._params(prompt))
        if self._options.merge_window:
            request.stream_options.window.FromMilliseconds(int(self._options.merge_window * 1000))
        event = None
        async for event in next(self._stubs).StreamMessage(request, timeout=_DEADLINE_SECONDS):
            delta = event.content_block_delta.delta
            read((delta.text_delta.text + delta.thinking_delta.thinking).encode())
        if event is None or not event.HasField("message_stop"):
            raise RuntimeError("the answer is not whole")

    async def create(self, prompt: str) -> None:
        await self._create(self._params(prompt))

    async def create_with_image(self, prompt: str) -> None:
        params = self._params("")
        turn = params.messages[0]
        turn.ClearField("text")
        turn.content.add().text.text = prompt
        image = turn.content.add().image.source.base64
        image.media_type, image.data = "image/png", _IMAGE
        await self._create(params)

    async def _create(self, params: messages_pb2.MessageParams) -> None:
        request = messages_pb2.CreateMessageRequest(params=params)
        answer = await next(self._stubs).CreateMessage(request, timeout=_DEADLINE_SECONDS)
        if not answer.message.content:
            raise RuntimeError("the answer has no content")

    def _params(self, prompt: str) -> messages_pb2.MessageParams:
        turn = messages_pb2.InputMessage(role=messages_pb2.ROLE_USER, text=prompt)
        return messages_pb2.MessageParams(model=self._options.model, max_tokens=_MAX_TOKENS, messages=[turn])


class HttpApi:
    """The API's own form: the upstream itself, and peers."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._url = options.target.rstrip("/") + "/v1/messages"
        self._model = options.model
        self._headers = dict(header.split(": ", 1) for header in options.header)

    async def __aenter__(self) -> Self:
        headers = {"anthropic-version": "2023-06-01", **self._headers}
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def stream(self, prompt: str, read: Read) -> None:
        body = {**self._body(prompt), "stream": True}
        last = b""
        async with self._session.post(self._url, json=body, raise_for_status=True) as response:
            async for piece in response.content.iter_any():
                read(piece)
                last = (last + piece)[-100:]
        if b"message_stop" not in last:
            raise RuntimeError("the answer is not whole")

    async def create(self, prompt: str) -> None:
        await self._create(prompt)

    async def create_with_image(self, prompt: str) -> None:
        source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(_IMAGE).decode()}
        await self._create([{"type": "text", "text": prompt}, {"type": "image", "source": source}])

    async def _create(self, content: Any) -> None:
        async with self._session.post(self._url, json=self._body(content), raise_for_status=True) as response:
            if not json.loads(await response.read())["content"]:
                raise RuntimeError("the answer has no content")

    def _body(self, content: Any) -> dict[str, Any]:
        return {"model": self._model, "max_tokens": _MAX_TOKENS, "messages": [{"role": "user", "content": content}]}
