"""How much the default engine reads at a time: little of events, much of files, whatever the connection had before."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from claude_grpc.upstream import make_transport
from support.http import post
from support.raw_upstream import Peer, Serve

BODY = bytes(1024 * 1024)
DELTA = b'event: content_block_delta\ndata: {"delta":{"text":"%s"}}\n\n' % (b"x" * 1000)
# The loop reads at most 8 KiB of events, of which half is handed on at a time.
MOST_OF_EVENTS = 2 * 1024


async def largest_piece(transport: Any, url: str) -> int:
    response = await transport.send(post(url))
    sizes = [len(piece) async for piece in response]
    await response.aclose()
    assert sum(sizes) == len(BODY)
    return max(sizes)


async def test_files_are_read_in_large_pieces_and_events_in_small_ones_on_one_connection(
    serve: Serve, tls: ssl.SSLContext
) -> None:
    async def script(peer: Peer) -> None:
        for kind in ("application/binary", "text/event-stream; charset=utf-8", "application/x-jsonl"):
            await peer.request()
            peer.respond(200, BODY, {"content-type": kind})
        await peer.stall()

    upstream = await serve(script)
    transport = make_transport("aiohttp", tls=tls)
    try:
        sizes = [await largest_piece(transport, upstream.url) for _ in range(3)]
    finally:
        await transport.aclose()
    assert sizes[1] == MOST_OF_EVENTS
    # How much the network brings at once is its own matter.
    assert min(sizes[0], sizes[2]) > 8 * 1024
    await upstream.peer()
    assert upstream.unseen() == 0


async def test_a_slow_reader_of_a_windowed_stream_holds_its_sender_back_and_loses_nothing(
    serve: Serve, tls: ssl.SSLContext
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.respond(200, whole, {"content-type": "text/event-stream"})
        await peer.stall()

    whole = DELTA * 16_000
    upstream = await serve(script)
    transport = make_transport("aiohttp", tls=tls)
    try:
        request = post(upstream.url)
        request.window = 0.01
        response = await transport.send(request)
        first = await anext(response)
        await asyncio.sleep(0.1)  # many windows
        # What is neither read nor at the sender is in the kernel's buffers, which are small beside the whole.
        assert (await upstream.peer()).transport.get_write_buffer_size() > len(whole) / 2
        assert first + b"".join([piece async for piece in response]) == whole
        await response.aclose()
    finally:
        await transport.aclose()
