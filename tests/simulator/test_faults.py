from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from claude_grpc.simulator import RawAnswer, Simulator, SimulatorOptions
from claude_grpc.simulator.raw_json import ODD_JSON

ODD = f'"future_field":{ODD_JSON}'


async def raw_body(ask: Any, body: dict[str, Any]) -> tuple[bytes, BaseException | None]:
    """What of an answer comes, and what its end is."""
    received = b""
    async with ask.open(body) as response:
        assert response.status == 200
        try:
            async for chunk in response.content.iter_any():
                received += chunk
        except (aiohttp.ClientError, ConnectionError) as error:
            return received, error
    return received, None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "invalid_request_error"),
        (409, "conflict_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_has_its_status_and_type(ask: Any, status: int, kind: str, stream: bool) -> None:
    reply = await ask(f"[[error {status}]]", stream=stream)
    assert (reply.status, reply.json["error"]["type"]) == (status, kind)
    assert reply.json["request_id"] == reply.headers["request-id"]


async def test_an_error_carries_what_a_retry_depends_on(ask: Any) -> None:
    reply = await ask("Hi [[error 429 retry-after=2 retry-after-ms=1500 should-retry=false type=api_error]]")
    headers = {name: reply.headers[name] for name in ("retry-after", "retry-after-ms", "x-should-retry")}
    assert headers == {"retry-after": "2", "retry-after-ms": "1500", "x-should-retry": "false"}
    assert reply.json["error"]["type"] == "api_error"


async def test_an_error_for_some_times_lets_the_request_through_then(ask: Any) -> None:
    question = "Hi [[error 529 times=2]]"
    assert [(await ask(question)).status for _ in range(4)] == [529, 529, 200, 200]
    assert (await ask(question + " again")).status == 529


async def test_an_error_may_be_a_proxys_page(ask: Any) -> None:
    reply = await ask("[[error 502 html]]")
    assert (reply.status, reply.headers["Content-Type"]) == (502, "text/html")
    assert reply.body.startswith(b"<html>")


@pytest.mark.parametrize("directive", ["error now", "error 200", "cut at=soon", "repeat -1"])
async def test_a_directive_that_cannot_be_read_is_the_callers_mistake(ask: Any, directive: str) -> None:
    reply = await ask(f"[[{directive}]]")
    assert reply.status == 400
    assert directive in reply.error


async def test_other_brackets_are_plain_text(ask: Any) -> None:
    assert "“[[error529]] [[wiki]]”" in (await ask("[[error529]] [[wiki]]")).json["content"][0]["text"]


async def test_directives_of_earlier_turns_are_over(ask: Any) -> None:
    turns = [{"role": "assistant", "content": "Sorry."}, {"role": "user", "content": "Hi"}]
    assert (await ask([{"role": "user", "content": "[[error 500]]"}, *turns])).status == 200


async def test_count_tokens_fails_on_demand_too(ask: Any) -> None:
    assert (await ask.count("[[error 529]]")).status == 529
    assert (await ask.count("[[cut at=0]]")).body == b""


async def test_an_error_event_ends_the_stream(ask: Any) -> None:
    reply = await ask("[[error-event rate_limit_error at=4]]", stream=True)
    assert reply.status == 200
    assert len(reply.events) == 5
    assert reply.events[-1]["type"] == reply.kinds[-1] == "error"
    assert reply.events[-1]["error"]["type"] == "rate_limit_error"
    assert reply.events[-1]["request_id"] == reply.headers["request-id"]


async def test_an_error_event_may_be_the_first(ask: Any) -> None:
    reply = await ask("[[error-event at=0]]", stream=True)
    assert [event["error"]["type"] for event in reply.events] == ["overloaded_error"]


async def test_without_a_stream_an_error_event_is_its_status(ask: Any) -> None:
    reply = await ask("[[error-event]]")
    assert (reply.status, reply.json["error"]["type"]) == (529, "overloaded_error")


async def test_a_cut_stream_ends_cleanly(ask: Any) -> None:
    whole = await ask("[[cut at=999]]", stream=True)
    assert whole.kinds[-1] == "message_stop"
    reply = await ask("[[cut at=5]]", stream=True)
    assert reply.kinds == whole.kinds[:5]


@pytest.mark.parametrize(("directive", "is_reset"), [("reset at=5", True), ("truncate at=5", False)])
async def test_a_broken_stream_brings_what_was_sent_and_an_error(ask: Any, directive: str, is_reset: bool) -> None:
    received, error = await raw_body(ask, ask.body(f"[[{directive}]]", stream=True))
    assert ("Connection reset by peer" in str(error)) is is_reset
    assert received.count(b"\n\n") == 5
    assert received.endswith(b"\n\n") is is_reset


@pytest.mark.parametrize("directive", ["reset at=0", "reset at=999", "truncate at=0"])
async def test_a_stream_may_break_at_either_end(ask: Any, directive: str) -> None:
    received, error = await raw_body(ask, ask.body(f"[[{directive}]]", stream=True))
    assert error is not None
    assert (b"message_stop" in received) is (directive == "reset at=999")


@pytest.mark.parametrize("directive", ["reset", "truncate"])
async def test_an_answer_without_a_stream_breaks_in_its_middle(ask: Any, directive: str) -> None:
    received, error = await raw_body(ask, ask.body(f"[[{directive}]]"))
    assert error is not None
    assert received.startswith(b'{"id":"msg_01')


@pytest.mark.parametrize("directive", ["cut", "bad-json"])
async def test_an_answer_without_a_stream_may_be_half_its_json(ask: Any, directive: str) -> None:
    reply = await ask(f"[[{directive}]]")
    assert reply.status == 200
    with pytest.raises(ValueError, match=r"delimiter|Unterminated|Expecting"):
        assert reply.json


@pytest.mark.parametrize(("directive", "count"), [("stall at=0", 0), ("stall at=4", 4)])
async def test_a_stalled_stream_stays_open_until_the_client_goes(
    ask: Any, simulator: Simulator, directive: str, count: int
) -> None:
    async with ask.open(ask.body(f"[[{directive}]]", stream=True)) as response:
        assert response.status == 200
        for _ in range(count):
            await response.content.readuntil(b"\n\n")
        exchange = await simulator.wait_request()
        assert exchange.closed_at is None
        assert exchange.events_sent == count
    await simulator.wait_closed(exchange)
    assert exchange.closed_early


async def test_slow_headers_come_late_or_never(ask: Any, simulator: Simulator) -> None:
    begun = time.monotonic()
    assert (await ask("[[slow-headers 0.05]]")).status == 200
    assert time.monotonic() - begun >= 0.05
    waiting = asyncio.ensure_future(ask("[[slow-headers]]"))
    exchange = await simulator.wait_request(2)
    waiting.cancel()
    await simulator.wait_closed(exchange)
    assert (exchange.status, exchange.closed_early) == (None, True)


async def test_bad_json_is_one_event_of_a_stream_that_goes_on(ask: Any) -> None:
    reply = await ask("[[bad-json at=5]]", stream=True)
    assert reply.kinds[-1] == "message_stop"
    with pytest.raises(ValueError, match=r"delimiter|Unterminated|Expecting"):
        assert reply.events
    assert "content_block_delta" in reply.frames[5]


async def test_an_unknown_event_is_in_its_place(ask: Any) -> None:
    reply = await ask("[[unknown-event at=4]]", stream=True)
    assert reply.kinds[4] == reply.events[4]["type"] == "future_event"
    assert ODD in reply.frames[4]


async def test_an_unknown_delta_comes_before_the_text(ask: Any) -> None:
    reply = await ask("[[unknown-delta]]", stream=True)
    assert reply.events[3]["delta"]["type"] == "future_delta"
    assert reply.events[4]["delta"]["type"] == "text_delta"
    assert ODD in reply.frames[3]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_block_comes_whole(ask: Any, stream: bool) -> None:
    body = (await ask("[[unknown-block]]", stream=stream)).body.decode()
    assert '{"type":"future_block",' + ODD in body


async def test_an_unknown_stop_reason_is_sent(ask: Any) -> None:
    assert (await ask("[[unknown-stop-reason]]")).json["stop_reason"] == "future_stop_reason"


async def test_unknown_fields_are_everywhere(ask: Any) -> None:
    message = (await ask("[[extra-field]]")).json
    for place in (message, message["usage"], message["content"][0]):
        assert place["future_field"]["a"] == 12345678901234567890
    reply = await ask("[[extra-field]]", stream=True)
    places = [
        place
        for event in reply.events
        for place in (event, event.get("message"), event.get("content_block"), event.get("delta"), event.get("usage"))
        if place is not None
    ]
    assert all("future_field" in place for place in places)
    assert reply.body.decode().count(ODD) == len(places) + 1


async def test_tool_input_is_sent_to_the_byte(ask: Any, weather_tool: dict[str, Any]) -> None:
    written = r'{ "b": 1.0,"a":"\u00e9", "n": 12345678901234567890, "l": [[1], 2 ] }'
    for directive, expected in ((f"tool-input {written}", written), ("tool-input", ODD_JSON)):
        body = (await ask(f"Use the tool. [[{directive}]]", tools=[weather_tool])).body.decode()
        assert f'"input":{expected},' in body
        reply = await ask(f"Use the tool. [[{directive}]]", tools=[weather_tool], stream=True)
        deltas = [event["delta"] for event in reply.events if event["type"] == "content_block_delta"]
        assert "".join(delta.get("partial_json", "") for delta in deltas) == expected


async def test_an_answer_can_be_long(ask: Any) -> None:
    once = (await ask("Hi", max_tokens=100_000)).json["content"][0]["text"]
    text = (await ask("Hi [[repeat 500]]", max_tokens=100_000)).json["content"][0]["text"]
    assert text == " ".join([once] * 500)


async def test_a_script_is_used_up_one_entry_a_request(ask: Any, simulator: Simulator) -> None:
    simulator.script("error 529", "", "[[error-event]] [[extra-field]]")
    simulator.script("error 500")
    assert [(await ask()).status for _ in range(5)] == [529, 200, 529, 500, 200]


async def test_a_script_with_a_mistake_is_refused(simulator: Simulator) -> None:
    with pytest.raises(ValueError, match="is no directive; there are answer, bad-json, cut"):
        simulator.script("cutt at=5")
    with pytest.raises(ValueError, match="'and more' is no directive"):
        simulator.script("[[cut]] and more")


async def test_a_raw_answer_is_sent_as_it_is(ask: Any, simulator: Simulator) -> None:
    chunks = (b"event: ping\r\nda", b"ta: {}\r\n\r\n\xff")
    simulator.script(RawAnswer(chunks, status=203, content_type="text/plain", headers={"x-more": "1"}))
    reply = await ask("[[error 500]]")
    assert (reply.status, reply.body) == (203, b"".join(chunks))
    assert (reply.headers["Content-Type"], reply.headers["x-more"]) == ("text/plain", "1")


class TestPace:
    @pytest.fixture
    def options(self) -> SimulatorOptions:
        return SimulatorOptions(delta_interval=0.01)

    @pytest.mark.parametrize(("directive", "interval"), [("", 0.01), ("[[pace 0.02]]", 0.02)])
    async def test_deltas_keep_their_interval(self, ask: Any, directive: str, interval: float) -> None:
        begun = time.monotonic()
        reply = await ask(f"Hi {directive}", stream=True)
        assert time.monotonic() - begun >= interval * reply.kinds.count("content_block_delta")
