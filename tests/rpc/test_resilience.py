"""Retries, deadlines, breakers and fallback models, as a caller sees them."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from claude_grpc.simulator import RawAnswer, SimulatorOptions
from claude_grpc.telemetry.metrics import Metrics
from claude_grpc.v1.gateway_pb2 import BREAKER_STATE_CLOSED, BREAKER_STATE_OPEN, GetServerInfoRequest
from claude_grpc.v1.messages_pb2 import CountTokensRequest
from claude_grpc.v1.options_pb2 import CallOptions
from support.stack import Ended, Stack, create, drain, open_stack, params, stream

OK, UNAVAILABLE, DEADLINE_EXCEEDED = (
    grpc.StatusCode.OK,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)
BIG, SMALL, TINY = "claude-opus-5-5", "claude-sonnet-5", "claude-haiku-5"
KINDS = pytest.mark.parametrize("kind", ["unary", "stream"])
SOON = "retry-after-ms=1"


async def ask(stack: Stack, kind: str, *, deadline: float | None = None, model: str = BIG, **options: Any) -> Ended:
    request = stream(model=model) if kind == "stream" else create(model=model)
    if options:
        request.call_options.CopyFrom(CallOptions(**options))
    method = stack.messages.StreamMessage if kind == "stream" else stack.messages.CreateMessage
    return await drain(method(request, timeout=deadline))


def model_of(ended: Ended) -> str:
    first: Any = ended.events[0]
    message = first.message if hasattr(first, "message") else first.message_start.message
    return str(message.model)


class TestRetries:
    @KINDS
    async def test_why_attempts_were_repeated_is_told(self, kind: str) -> None:
        async with open_stack(max_retries=2) as stack:
            stack.simulator.script(f"error 529 {SOON}", f"error 500 {SOON}")
            ended = await ask(stack, kind)
            assert ended.code is OK
            assert ended.trailers["claude-grpc-attempts"] == "3"
            assert ended.trailers["claude-grpc-retries"] == "529,500"
            assert ended.trailers["claude-grpc-model"] == BIG
            assert "claude-grpc-fallback" not in ended.trailers

    @KINDS
    async def test_in_the_end_the_error_tells_it_as_well(self, kind: str) -> None:
        async with open_stack(max_retries=1) as stack:
            stack.simulator.script(f"error 529 {SOON}", f"error 503 {SOON}")
            ended = await ask(stack, kind)
            assert (ended.code, ended.info.reason) == (UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
            assert (ended.info.metadata["attempts"], ended.info.metadata["retries"]) == ("2", "529")
            assert ended.trailers["claude-grpc-retries"] == "529"

    @pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
    @pytest.mark.parametrize(
        ("fault", "word"),
        [
            ("error-event at=0", "overloaded_error"),
            ("error-event api_error at=0", "api_error"),
            ("cut at=0", "cut"),
            (RawAnswer((b'event: message_start\ndata: {"type":"mess',)), "cut"),
            (RawAnswer((b'event: message_start\ndata: {"id":"\xc3',)), "cut"),
        ],
    )
    async def test_a_stream_is_opened_again_until_its_first_event(self, engine: str, fault: Any, word: str) -> None:
        async with open_stack(engine=engine, max_retries=1) as stack:
            stack.simulator.script(fault)
            ended = await ask(stack, "stream")
            assert (ended.code, ended.types[0], ended.types[-1]) == (OK, "message_start", "message_stop")
            assert ended.trailers["claude-grpc-retries"] == word

    @pytest.mark.parametrize("fault", ["error-event at=1", "cut at=1", "reset at=1"])
    async def test_and_never_after_it(self, fault: str) -> None:
        async with open_stack(max_retries=2, fallback_models={"*": [SMALL]}) as stack:
            stack.simulator.script(fault)
            ended = await ask(stack, "stream")
            assert ended.code is UNAVAILABLE
            assert len(stack.simulator.requests) == 1

    @KINDS
    @pytest.mark.parametrize(("setting", "own", "attempts"), [(2, 0, 1), (0, 1, 2)])
    async def test_a_call_has_its_own_number_of_retries(self, kind: str, setting: int, own: int, attempts: int) -> None:
        async with open_stack(max_retries=setting) as stack:
            stack.simulator.script(*[f"error 529 {SOON}"] * 3)
            ended = await ask(stack, kind, max_retries=own)
            assert ended.info.metadata["attempts"] == str(attempts)

    async def test_in_an_outage_there_is_soon_one_attempt_for_each_call(self) -> None:
        async with open_stack(SimulatorOptions(history=1000), max_retries=2, retry_budget=20) as stack:
            for _ in range(20):
                calls = [drain(stack.messages.CreateMessage(create(f"[[error 529 {SOON}]]"))) for _ in range(10)]
                assert {ended.code for ended in await asyncio.gather(*calls)} == {UNAVAILABLE}
            assert 200 < len(stack.simulator.requests) <= 1.1 * 200


class TestDeadlines:
    @KINDS
    async def test_a_caller_is_told_before_its_own_deadline(self, stack: Stack, kind: str) -> None:
        stack.simulator.script("slow-headers")
        ended = await ask(stack, kind, deadline=2.0)
        assert (ended.code, ended.info.reason) == (DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert (ended.info.metadata["attempts"], ended.info.metadata["safeToRetry"]) == ("1", "false")
        assert ended.trailers["grpc-retry-pushback-ms"] == "-1"
        await stack.simulator.wait_closed(stack.simulator.requests[0])

    @KINDS
    async def test_a_call_has_its_own_total_time(self, stack: Stack, kind: str) -> None:
        stack.simulator.script("stall at=0")
        ended = await ask(stack, kind, deadline=60.0, total_timeout=Duration(nanos=300_000_000))
        assert (ended.code, ended.info.reason) == (DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        await stack.simulator.wait_closed(stack.simulator.requests[0])

    @KINDS
    async def test_without_a_deadline_the_setting_holds_and_it_is_counted(
        self, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counted: list[str] = []
        monkeypatch.setattr(Metrics, "rpc_without_deadline", lambda _, method: counted.append(method))
        async with open_stack(default_deadline=0.3) as stack:
            stack.simulator.script("stall at=2")
            ended = await ask(stack, kind)
            assert (ended.code, ended.info.reason) == (DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
            await ask(stack, kind, deadline=60.0)
        [method] = counted
        assert method.startswith("claude_grpc.v1.MessagesService/")

    async def test_a_stream_ends_at_its_time_with_what_it_had(self, stack: Stack) -> None:
        stack.simulator.script("stall at=5")
        ended = await ask(stack, "stream", total_timeout=Duration(nanos=300_000_000))
        assert (ended.code, ended.types[0]) == (DEADLINE_EXCEEDED, "message_start")
        assert ended.info.metadata["partial"] == "true"
        assert ended.info.metadata["requestId"] == ended.trailers["request-id"] != ""
        await stack.simulator.wait_closed(stack.simulator.requests[0])

    @KINDS
    async def test_a_retry_that_could_not_end_in_time_is_not_waited_for(self, kind: str) -> None:
        async with open_stack(max_retries=2) as stack:
            stack.simulator.script("error 529 retry-after=30")
            ended = await ask(stack, kind, deadline=20.0)
            assert (ended.code, ended.info.reason, ended.retry_seconds) == (UNAVAILABLE, "OVERLOADED", 30.0)
            assert len(stack.simulator.requests) == 1

    @KINDS
    async def test_a_call_has_its_own_read_timeout(self, stack: Stack, kind: str) -> None:
        stack.simulator.script("slow-headers")
        ended = await ask(stack, kind, read_timeout=Duration(nanos=200_000_000))
        assert (ended.code, ended.info.reason) == (UNAVAILABLE, "UPSTREAM_TIMEOUT")


class TestBreaker:
    @KINDS
    async def test_a_model_that_fails_is_not_asked_for_a_while(self, kind: str) -> None:
        async with open_stack(breaker_failures=2, breaker_pause=60) as stack:
            stack.simulator.script("error 529", "error 500")
            for _ in range(2):
                await ask(stack, kind)
            ended = await ask(stack, kind)
            assert (ended.code, ended.info.reason) == (UNAVAILABLE, "BREAKER_OPEN")
            assert (ended.info.metadata["safeToRetry"], ended.info.metadata["attempts"]) == ("true", "0")
            assert ended.retry_seconds is not None
            assert 50 < ended.retry_seconds <= 60
            assert len(stack.simulator.requests) == 2
            assert (await ask(stack, kind, model=SMALL)).code is OK
            count = CountTokensRequest(params=params(model=BIG))
            assert (await drain(stack.messages.CountTokens(count))).code is OK

    async def test_the_server_tells_which_models_fail(self) -> None:
        async with open_stack(breaker_failures=2, breaker_pause=60) as stack:
            assert not (await stack.server.GetServerInfo(GetServerInfoRequest())).breakers
            stack.simulator.script("error 529", "error 500", "error 503")
            for model in (BIG, BIG, SMALL, TINY):
                await ask(stack, "unary", model=model)
            big, small = (await stack.server.GetServerInfo(GetServerInfoRequest())).breakers
            assert (big.model, big.state, big.recent_failures, big.recent_attempts) == (BIG, BREAKER_STATE_OPEN, 2, 2)
            assert (small.model, small.state, small.recent_failures) == (SMALL, BREAKER_STATE_CLOSED, 1)
            assert big.HasField("open_until")
            assert not small.HasField("open_until")

    async def test_who_waits_as_long_as_told_is_served_again(self) -> None:
        async with open_stack(breaker_failures=2, breaker_pause=0.2) as stack:
            stack.simulator.script("error 529", "error 500")
            for _ in range(2):
                await ask(stack, "unary")
            ended = await ask(stack, "unary")
            assert ended.info.reason == "BREAKER_OPEN"
            assert ended.retry_seconds is not None
            await asyncio.sleep(ended.retry_seconds)
            assert (await ask(stack, "unary")).code is OK
            [breaker] = (await stack.server.GetServerInfo(GetServerInfoRequest())).breakers
            assert breaker.state == BREAKER_STATE_CLOSED


class TestFallback:
    @KINDS
    @pytest.mark.parametrize("by", ["request", "setting"])
    async def test_another_model_takes_over_after_overload(self, kind: str, by: str) -> None:
        setting = {BIG: [SMALL]} if by == "setting" else {}
        async with open_stack(fallback_models=setting, max_retries=1) as stack:
            stack.simulator.script(f"error 529 {SOON}", f"error 529 {SOON}")
            ended = await ask(stack, kind, **({"fallback_models": [SMALL]} if by == "request" else {}))
            assert (ended.code, model_of(ended)) == (OK, SMALL)
            assert ended.trailers["claude-grpc-model"] == SMALL
            assert ended.trailers["claude-grpc-fallback"] == "overloaded"
            assert ended.trailers["claude-grpc-attempts"] == "3"
            assert ended.trailers["claude-grpc-retries"] == "529,529"

    @KINDS
    async def test_its_request_is_the_same_but_for_the_model(self, stack: Stack, kind: str) -> None:
        stack.simulator.script("error 529")
        await ask(stack, kind, fallback_models=[SMALL])
        first, second = (exchange.body for exchange in stack.simulator.requests)
        assert second == first.replace(BIG.encode(), SMALL.encode())
        assert second != first

    @KINDS
    async def test_a_model_whose_breaker_is_open_is_passed_over(self, kind: str) -> None:
        async with open_stack(breaker_failures=1, breaker_pause=60, fallback_models={"*": [SMALL, TINY]}) as stack:
            stack.simulator.script("error 529", "error 529")
            ended = await ask(stack, kind)
            assert (model_of(ended), ended.trailers["claude-grpc-fallback"]) == (TINY, "overloaded")
            ended = await ask(stack, kind)
            assert (model_of(ended), ended.trailers["claude-grpc-fallback"]) == (TINY, "breaker_open")
            assert ended.trailers["claude-grpc-attempts"] == "1"
            assert "claude-grpc-retries" not in ended.trailers

    @pytest.mark.parametrize("fault", ["error-event at=0", "error 529"])
    async def test_a_stream_that_was_not_yet_begun_may_still_change_its_model(self, stack: Stack, fault: str) -> None:
        stack.simulator.script(fault)
        ended = await ask(stack, "stream", fallback_models=[SMALL])
        assert (ended.code, model_of(ended)) == (OK, SMALL)

    @KINDS
    @pytest.mark.parametrize("fault", ["error 500", "error 429", "error 400"])
    async def test_for_other_errors_none_takes_over(self, stack: Stack, kind: str, fault: str) -> None:
        stack.simulator.script(fault)
        assert (await ask(stack, kind, fallback_models=[SMALL])).code is not OK
        assert len(stack.simulator.requests) == 1

    @KINDS
    async def test_a_caller_may_want_its_model_or_none(self, kind: str) -> None:
        async with open_stack(fallback_models={"*": [SMALL]}) as stack:
            stack.simulator.script("error 529")
            ended = await ask(stack, kind, no_fallback=True)
            assert (ended.code, ended.info.reason) == (UNAVAILABLE, "OVERLOADED")
            assert ended.trailers["claude-grpc-model"] == BIG

    @KINDS
    async def test_when_all_are_overloaded_the_caller_is_told_which_was_last(self, stack: Stack, kind: str) -> None:
        stack.simulator.script("error 529", "error 529")
        ended = await ask(stack, kind, fallback_models=[SMALL])
        assert (ended.code, ended.info.reason) == (UNAVAILABLE, "OVERLOADED")
        assert (ended.info.metadata["model"], ended.info.metadata["fallback"]) == (SMALL, "overloaded")
        assert (ended.info.metadata["attempts"], ended.info.metadata["retries"]) == ("2", "529")

    async def test_tokens_are_counted_for_the_model_that_was_named(self) -> None:
        async with open_stack(fallback_models={"*": [SMALL]}) as stack:
            stack.simulator.script("error 529")
            ended = await drain(stack.messages.CountTokens(CountTokensRequest(params=params(model=BIG))))
            assert ended.code is UNAVAILABLE
            assert len(stack.simulator.requests) == 1


@KINDS
async def test_options_that_make_no_sense_are_refused_by_name(stack: Stack, kind: str) -> None:
    ended = await ask(stack, kind, max_retries=99, read_timeout=Duration())
    assert ended.code is grpc.StatusCode.INVALID_ARGUMENT
    assert ended.violations.keys() == {"call_options.max_retries", "call_options.read_timeout"}
    assert not stack.simulator.requests


async def test_a_model_that_is_no_headers_word_is_not_told_in_a_header(stack: Stack) -> None:
    ended = await ask(stack, "unary", model="modèle\n")
    assert "claude-grpc-model" not in ended.trailers
