"""The watch that every test is under finds what it is there to find."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from claude_grpc.rpc.call import Call
from claude_grpc.simulator import Simulator
from claude_grpc.telemetry import model_calls, names
from claude_grpc.telemetry.calls import Telemetry
from claude_grpc.telemetry.logs import configure_logging
from claude_grpc.telemetry.metrics import Metrics
from claude_grpc.v1.messages_pb2_grpc import MessagesServiceStub
from support.canary import CANARY_KEY, CANARY_METADATA, CANARY_PROMPT, CANARY_TOKEN, Watch
from support.processes import running_gateway
from support.stack import Stack, create, drain, open_stack, stream


async def test_every_gateway_of_a_test_is_watched(canary_watch: Watch) -> None:
    async with open_stack() as stack:
        await drain(stack.messages.StreamMessage(stream()))
    assert canary_watch.spans == 3
    assert canary_watch.points > 10
    assert canary_watch.lines["claude_grpc.call"] == 1


async def test_a_prompt_on_a_span_is_found(canary_watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(params: object) -> dict[str, str]:
        return {names.REQUEST_MODEL: str(params)}

    monkeypatch.setattr(model_calls, "request_attributes", careless)
    async with open_stack() as stack:
        await drain(stack.messages.CreateMessage(create()))
    assert [found.rpartition(": ")[2] for found in canary_watch.found] == [CANARY_PROMPT]
    canary_watch.found.clear()


async def test_a_key_in_a_metric_is_found(canary_watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Metrics.rpc_failed

    def careless(metrics: Metrics, method: str, reason: str) -> None:
        told(metrics, method, f"{reason} with {CANARY_KEY}")

    monkeypatch.setattr(Metrics, "rpc_failed", careless)
    async with open_stack() as stack:
        await drain(stack.messages.CreateMessage(create("[[error 400]]")))
    assert canary_watch.found == [f"the metric {names.METRIC_RPC_FAILURES}: {CANARY_KEY}"]
    canary_watch.found.clear()


@pytest.mark.parametrize(
    ("name", "level"),
    [("claude_grpc.call", "DEBUG"), ("claude_grpc.call", "ERROR"), ("grpc", "DEBUG"), ("aiohttp.client", "WARNING")],
)
@pytest.mark.parametrize("canary", [CANARY_KEY, CANARY_PROMPT, CANARY_TOKEN])
@pytest.mark.parametrize("where", ["text", "argument", "field", "bytes", "exception"])
def test_a_line_of_the_log_is_looked_through(
    canary_watch: Watch, name: str, level: str, canary: str, where: str
) -> None:
    text = canary if where == "text" else "Said %s"
    arguments = () if where == "text" else (canary if where == "argument" else "",)
    error = ValueError(canary) if where == "exception" else None
    extra = {"field": {"asked": {"texts": [canary]}}, "bytes": {"asked": canary.encode()}}.get(where)
    logging.getLogger(name).log(getattr(logging, level), text, *arguments, exc_info=error, extra=extra)
    assert canary_watch.found == [f"a line of {name}: {canary}"]
    canary_watch.found.clear()


def test_nobody_but_the_watch_hears_more_than_before(canary_watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    root, out = logging.getLogger(), StringIO()
    handlers, level = root.handlers[:], root.level
    root.setLevel(level)  # other tests may have left it behind in what loggers remember
    log = logging.getLogger("claude_grpc.call")
    log.info("One")
    log.warning("Two")
    try:
        configure_logging("info", "json", out)
        log.debug("Three")
        log.info("Four")
        logging.getLogger("httpcore.http11").debug("Five")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert [record.getMessage() for record in caplog.records] == ["Two"]
    assert [json.loads(line)["message"] for line in out.getvalue().splitlines()] == ["Four"]
    assert canary_watch.lines == {"claude_grpc.call": 4}


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, str]]:
    """The metadata of calls; they stand in the log, too, where nobody reads it by default."""
    begin, seen = Telemetry.call, []

    def careless(telemetry: Telemetry, method: str, metadata: Mapping[str, str], *more: Any) -> Any:
        seen.append(metadata)
        logging.getLogger("claude_grpc.call").debug("Begun", extra={"metadata": dict(metadata)})
        return begin(telemetry, method, metadata, *more)

    monkeypatch.setattr(Telemetry, "call", careless)
    return seen


async def test_a_callers_header_in_the_log_is_found(
    canary_watch: Watch, stack: Stack, begun: list[Mapping[str, str]]
) -> None:
    await drain(stack.messages.CreateMessage(create()))
    assert canary_watch.lines["claude_grpc.call"] == 2
    assert canary_watch.found == [f"a line of claude_grpc.call: {CANARY_TOKEN}"]
    canary_watch.found.clear()


async def test_what_a_test_sends_itself_stands_instead_of_a_canary(
    canary_watch: Watch, stack: Stack, begun: list[Mapping[str, str]]
) -> None:
    own = {"cookie": "own", "x-own": "own"}
    await drain(stack.messages.CreateMessage(create(), metadata=tuple(own.items())))
    texts = {key: value for key, value in CANARY_METADATA if isinstance(value, str)}
    assert begun[0].items() >= (texts | own).items()
    canary_watch.found.clear()


async def test_a_callers_header_that_comes_back_to_it_is_found(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = Call.answered

    def careless(call: Call, context: Any) -> None:
        answered(call, context)
        call.trailers["x-seen"] = call.metadata["authorization"]

    monkeypatch.setattr(Call, "answered", careless)
    for call in (stack.messages.CreateMessage(create()), stack.messages.StreamMessage(stream("[[error 529]]"))):
        with pytest.raises(AssertionError, match=CANARY_TOKEN):
            await drain(call)


async def test_a_callers_header_that_goes_upstream_is_found() -> None:
    with pytest.raises(AssertionError, match=CANARY_TOKEN):
        async with open_stack() as stack, httpx.AsyncClient(base_url=stack.simulator.base_url) as client:
            await client.get("/v1/models", headers=[pair for pair in CANARY_METADATA if pair[0] == "cookie"])


@pytest.mark.parametrize("embedded", [True, False])
async def test_a_gateway_of_its_own_process_has_the_key_and_its_log_is_looked_through(
    tmp_path: Path, *, embedded: bool
) -> None:
    async with Simulator() as simulator:
        upstream = {} if embedded else {"ANTHROPIC_BASE_URL": simulator.base_url}
        gateway = running_gateway(tmp_path / "log", **upstream)
        target = (await asyncio.to_thread(gateway.__enter__)).target
        async with grpc.aio.insecure_channel(target) as channel:
            stub = MessagesServiceStub(channel)  # type: ignore[no-untyped-call]
            # A caller's word for a model is in the log, and so may stand for a leak; there is no such model.
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.CreateMessage(create(model=CANARY_KEY))
        with pytest.raises(AssertionError, match=CANARY_KEY):
            await asyncio.to_thread(gateway.__exit__, None, None, None)
        keys = [exchange.headers["x-api-key"] for exchange in simulator.requests]
    assert keys == ([] if embedded else [CANARY_KEY])
