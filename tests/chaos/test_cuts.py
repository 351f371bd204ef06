"""Recorded streams, cut off at every byte: none is whole until its last event is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from claude_grpc.simulator import RawAnswer, SimulatorOptions
from support.stack import Stack, drain, open_stack, stream

RECORDED = sorted((Path(__file__).parents[1] / "golden" / "streams").glob("*.sse"))


async def ends_well(stack: Stack, answer: bytes) -> bool:
    """Whether a stream that ends after these bytes ends as if it were whole."""
    stack.simulator.script(RawAnswer((answer,) if answer else ()))
    ended = await drain(stack.messages.StreamMessage(stream()))
    assert (ended.code is grpc.StatusCode.OK) == (ended.types[-1:] == ["message_stop"])
    assert ended.code is grpc.StatusCode.OK or ended.info.reason == "STREAM_INTERRUPTED"
    return ended.code is grpc.StatusCode.OK


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
async def test_a_stream_that_is_cut_is_never_ok(recorded: Path, at_length: bool) -> None:
    whole = await asyncio.to_thread(recorded.read_bytes)
    needed = len(whole.rstrip())  # the last line's end may be missing
    cuts = range(len(whole) + 1) if at_length else [*range(0, needed, 97), needed - 1, needed, len(whole)]
    async with open_stack(SimulatorOptions(history=1)) as stack:
        well = [size for size in cuts if await ends_well(stack, whole[:size])]
    print(f"\n{recorded.stem}: {len(cuts)} cuts of {len(whole)} bytes, of which {len(well)} leave it whole")
    assert well == [size for size in cuts if size >= needed]
