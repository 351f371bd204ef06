"""Upstreams that fail before they answer, and what is asked of them."""

from __future__ import annotations

import json
from typing import Any

from claude_grpc.errors import UpstreamContext
from claude_grpc.upstream import UpstreamClient, UpstreamRequest

EVENT = b'event: message_start\ndata: {"type":"message_start"}\n\n'


__all__ = ["EVENT", "asking", "error_event", "error_json", "read", "refuses", "scripted", "sends"]


def asking(**fields: Any) -> UpstreamRequest:
    return UpstreamRequest(**{"method": "POST", "path": "/v1/messages", "body": b"{}", "model": "m", **fields})


def error_json(kind: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": f"It was {kind}"}}).encode()


def error_event(kind: str) -> bytes:
    return b"event: error\ndata: " + error_json(kind) + b"\n\n"


async def read(client: UpstreamClient, request: UpstreamRequest | None = None) -> tuple[list[bytes], UpstreamContext]:
    async with await client.stream(request or asking()) as stream:
        return [event.data async for events in stream for event in events], stream.context


def scripted(*openings: Any) -> Any:
    """Do what each opening says to one request after the other, and then answer."""

    async def script(peer: Any) -> None:
        while True:
            await peer.request()
            opening = next(rest, None)
            if opening is None:
                peer.start_events({"request-id": "req_ok"})
                peer.send_chunk(EVENT)
                peer.end_chunks()
            elif await opening(peer):
                await peer.stall()

    rest = iter(openings)
    return script


def sends(*chunks: bytes, end: str = "chunks") -> Any:
    async def opening(peer: Any) -> bool:
        peer.start_events()
        for chunk in chunks:
            peer.send_chunk(chunk)
        if end == "chunks":
            peer.end_chunks()
        elif end != "stall":
            getattr(peer, end)()
        return bool(end != "chunks")

    return opening


def refuses(status: int, **headers: str) -> Any:
    async def opening(peer: Any) -> bool:
        peer.respond(status, error_json("overloaded_error"), {k.replace("_", "-"): v for k, v in headers.items()})
        return False

    return opening
