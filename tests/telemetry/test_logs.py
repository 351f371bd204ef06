from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any, Literal

import pytest

from claude_grpc.telemetry.logs import configure_logging, where_it_failed
from claude_grpc.telemetry.span import Current, Shape, Span, Trace
from support.otlp import Collector
from support.stack import Stack, create, drain, open_stack, stream


@pytest.fixture
def configure() -> Iterator[Any]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def start(form: Literal["json", "text"]) -> StringIO:
        out = StringIO()
        configure_logging("info", form, out)
        return out

    yield start
    root.handlers[:] = handlers
    root.setLevel(level)


def line_of(out: StringIO) -> dict[str, Any]:
    [line] = [line for line in map(json.loads, out.getvalue().splitlines()) if line["logger"] == "claude_grpc.call"]
    return dict(line)


async def test_a_calls_line_says_what_it_was_and_what_it_cost(stack: Stack, configure: Any) -> None:
    out = configure("json")
    ended = await drain(stack.messages.StreamMessage(stream()))
    line = line_of(out)
    usage = stack.simulator.usage
    assert (
        line
        | {
            "code": "OK",
            "attempts": 1,
            "model": "claude-opus-5-5",
            "input_tokens": usage["input_tokens"],
            "output_tokens": usage["output_tokens"],
            "request_id": stack.simulator.requests[0].request_id,
            "timing": ended.trailers["claude-grpc-timing"],
        }
        == line
    )
    assert 0 < line["seconds"] < 60


async def test_the_line_of_a_call_that_was_given_up_says_what_was_tried(configure: Any) -> None:
    out = configure("json")
    async with open_stack(max_retries=2) as stack:
        stack.simulator.script("error 529 retry-after-ms=1", "slow-headers")
        call = stack.messages.CreateMessage(create())
        first, second = [await stack.simulator.wait_request(number) for number in (1, 2)]
        call.cancel()
        await stack.simulator.wait_closed(second)
    line = line_of(out)
    assert (line["code"], line["attempts"], line["request_id"]) == ("CANCELLED", 2, first.request_id)


async def test_a_calls_lines_have_the_id_of_its_trace(collector: Collector, configure: Any) -> None:
    out = configure("json")
    async with open_stack() as stack:
        await drain(stack.messages.CreateMessage(create()))
    [rpc] = [span for span in collector.spans if span.kind == "SERVER"]
    assert (line_of(out)["trace_id"], line_of(out)["span_id"]) == (rpc.trace_id, rpc.span_id)


async def test_without_exporters_the_callers_trace_is_in_the_log_nevertheless(stack: Stack, configure: Any) -> None:
    out = configure("json")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    await drain(stack.messages.CreateMessage(create(), metadata=(("traceparent", f"00-{trace}-00f067aa0ba902b7-01"),)))
    assert line_of(out)["trace_id"] == trace


def test_a_text_line_stays_one_line_whatever_a_caller_calls_its_model(configure: Any) -> None:
    out = configure("text")
    logging.getLogger("x").info("Said", extra={"model": "a\n12:00:00 info fake", "count": 3})
    assert out.getvalue().count("\n") == 1
    assert 'model="a\\n12:00:00 info fake" count=3' in out.getvalue()


def test_a_text_line_has_the_trace_and_the_place_of_a_bug(configure: Any) -> None:
    out = configure("text")
    span = Span(Shape("n", 1, {}), Trace(0xABC, 1), span_id=0xDEF)
    with Current(span):
        logging.getLogger("x").error("Failed", extra={"where": "File a\n  b"})
    assert out.getvalue().endswith(f"Failed trace_id={'abc':0>32} span_id={'def':0>16}\nFile a\n  b\n")


def test_where_it_failed_has_types_and_frames_of_the_whole_chain_and_no_texts() -> None:
    def look_up() -> None:
        raise KeyError("canary-one")

    def fail() -> None:
        try:
            look_up()
        except KeyError as error:
            raise ValueError("canary-two") from error

    with pytest.raises(ValueError, match="canary-two") as caught:
        fail()
    where = where_it_failed(caught.value)
    assert "builtins.KeyError" in where
    assert where.endswith("builtins.ValueError")
    assert where.count(__file__) == 4
    # The frames quote the lines of the code, and these hold the canaries; an exception's own text comes after a colon.
    assert "Error: canary" not in where
    assert "'canary-one'" not in where
