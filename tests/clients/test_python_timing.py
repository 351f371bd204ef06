from __future__ import annotations

from typing import Any

import pytest

from claude_grpc_client import AsyncClient, Timing, user
from claude_grpc_client.timing import read_timing

LINE = "admission=5,receive=1,encode=90,retry=0,connect=400,first-event=9000,stream=20000,relay=105,total=29601"


def test_the_parts_are_read_and_the_gateways_own_share_is_told() -> None:
    timing = read_timing({"claude-grpc-timing": LINE})
    assert timing == Timing(
        admission=5, receive=1, encode=90, connect=400, first_event=9000, stream=20000, relay=105, total=29601
    )
    assert timing.gateway == 200


@pytest.mark.parametrize(
    "trailers", [{}, {"claude-grpc-timing": ""}, {"claude-grpc-timing": "soon=5,total=" + "9" * 999}]
)
def test_nothing_is_read_where_nothing_is_told(trailers: dict[str, str]) -> None:
    assert read_timing(trailers) is None


def test_names_that_are_newer_than_the_client_are_passed_over() -> None:
    assert read_timing({"claude-grpc-timing": "think=7,relay=3,total=10,relay=x"}) == Timing(relay=3, total=10)


async def test_a_stream_has_its_timing_when_it_has_ended(fake: Any, answer: Any) -> None:
    fake.play(events=answer, trailers=[("claude-grpc-timing", LINE)])
    async with (
        AsyncClient(fake.target) as client,
        client.stream(model="m", max_tokens=9, messages=[user("Hi")]) as stream,
    ):
        assert stream.timing is None
        await stream.final_message()
        assert stream.timing is not None
        assert stream.timing.total == 29601
