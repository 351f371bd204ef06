"""Of a million deltas none is lost, doubled or out of order, however upstream's bytes are cut."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest

from chaos.process import measured_gateway, stub
from chaos.upstream import Answer, NumberedUpstream
from support.stack import stream

STREAMS = 10


async def read_in_order(call: Any) -> int:
    """Read a numbered answer, checking each number; how many messages brought its deltas."""
    answer, number, rest, messages, last = "", 0, "", 0, ""
    async for event in call:
        last = event.type
        if last == "message_start":
            answer = event.message_start.message.id.removeprefix("msg_")
        elif last == "content_block_delta":
            messages += 1
            *whole, rest = (rest + event.content_block_delta.delta.text_delta.text).split(" ")
            for told in whole:
                assert told == f"{answer}:{number}"
                number += 1
        elif last == "message_delta":
            assert (rest, number) == ("", event.message_delta.usage.output_tokens)
    assert last == "message_stop"
    return messages


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("exact", [False, True], ids=["joined", "exact"])
async def test_no_delta_is_lost_doubled_or_out_of_order(exact: bool, at_length: bool) -> None:
    deltas = (1_000_000 if at_length else 10_000) // STREAMS
    request = stream()
    request.stream_options.exact_events = exact
    async with (
        NumberedUpstream(lambda _: Answer(deltas=deltas, chunks=700), seed=5) as upstream,
        measured_gateway(upstream.address) as gateway,
        grpc.aio.insecure_channel(gateway.target) as channel,
    ):
        began = time.monotonic()
        calls = [stub(channel).StreamMessage(request) for _ in range(STREAMS)]
        messages = sum(await asyncio.gather(*map(read_in_order, calls)))
        seconds = time.monotonic() - began
    print(f"\n{deltas * STREAMS} deltas in {upstream.sent} pieces came as {messages} messages in {seconds:.1f} s")
    assert upstream.whole == STREAMS
    assert not exact or messages == deltas * STREAMS
