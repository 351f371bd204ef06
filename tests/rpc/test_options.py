"""What a caller may ask of the gateway, and what is made of it: options, deadlines, fallback models."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from claude_grpc.codec import Violations
from claude_grpc.errors import (
    BreakerOpenError,
    InvalidRequestError,
    UpstreamConnectionError,
    UpstreamContext,
    UpstreamError,
    UpstreamStatusError,
)
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.deadline import DeadlinePolicy
from claude_grpc.rpc.fallback import FallbackPolicy, ask_in_turn
from claude_grpc.rpc.options import Options, read_options
from claude_grpc.upstream import UpstreamRequest
from claude_grpc.v1.options_pb2 import DISCONNECT_POLICY_FINISH, CallOptions


def read(**fields: Any) -> Options:
    violations = Violations()
    options = read_options(CallOptions(**fields), violations)
    violations.raise_if_any()
    return options


def test_what_is_not_set_goes_by_the_settings() -> None:
    assert read() == Options()


def test_options_are_read() -> None:
    options = read(
        max_retries=0,
        connect_timeout=Duration(seconds=1),
        read_timeout=Duration(nanos=500_000_000),
        write_timeout=Duration(seconds=86_400),
        total_timeout=Duration(seconds=2, nanos=250_000_000),
        fallback_models=["a", "eu.anthropic/claude-x:1@20260101"],
        on_disconnect=DISCONNECT_POLICY_FINISH,
    )
    assert options == Options(
        max_retries=0,
        timeouts={"connect": 1.0, "read": 0.5, "write": 86_400.0},
        total=2.25,
        fallback_models=("a", "eu.anthropic/claude-x:1@20260101"),
        outlives_caller=True,
    )


def test_to_want_no_fallback_is_not_to_say_nothing() -> None:
    assert read(no_fallback=True).fallback_models == ()


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"max_retries": -1}, "call_options.max_retries"),
        ({"max_retries": 11}, "call_options.max_retries"),
        ({"connect_timeout": Duration()}, "call_options.connect_timeout"),
        ({"read_timeout": Duration(seconds=-1)}, "call_options.read_timeout"),
        ({"write_timeout": Duration(seconds=86_400, nanos=1)}, "call_options.write_timeout"),
        ({"total_timeout": Duration(seconds=2**62)}, "call_options.total_timeout"),
        ({"fallback_models": ["a"] * 9}, "call_options.fallback_models"),
        ({"fallback_models": ["a", ""]}, "call_options.fallback_models[1]"),
        ({"fallback_models": ["a\r\nb"]}, "call_options.fallback_models[0]"),
        ({"fallback_models": ["a" * 257]}, "call_options.fallback_models[0]"),
        ({"fallback_models": ["a"], "no_fallback": True}, "call_options.no_fallback"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read(**fields)
    assert [violation.field for violation in caught.value.violations] == [path]


STARTED, NOW = 900.0, 1000.0


@pytest.mark.parametrize(
    ("deadline", "options", "upstream"),
    [
        # Less the margin, which is at most a tenth of the time left.
        (1060.0, Options(), 1059.75),
        (1002.0, Options(), 1001.8),
        (1000.0, Options(), 1000.0),
        (990.0, Options(), 990.0),
        # The smaller one wins.
        (1060.0, Options(total=120.0), 1020.0),
        (1060.0, Options(total=600.0), 1059.75),
        # Nobody waits: the setting, or the caller's word.
        (None, Options(), 4500.0),
        (None, Options(total=7200.0), 8100.0),
        (None, Options(total=10.0), 910.0),
        # What outlives its caller is not bound to the caller's patience.
        (1060.0, Options(outlives_caller=True), 4500.0),
        (1060.0, Options(outlives_caller=True, total=120.0), 1020.0),
    ],
)
def test_upstream_has_as_long_as_the_caller_waits(deadline: float | None, options: Options, upstream: float) -> None:
    policy = DeadlinePolicy(default=3600.0, margin=0.25, clock=lambda: NOW)
    assert policy.upstream(Call("m", deadline=deadline, started=STARTED), options) == pytest.approx(upstream)


SETTING = FallbackPolicy({"big": ["small", "big", "tiny", "small"], "*": ["small"]})


@pytest.mark.parametrize(
    ("model", "options", "fallbacks"),
    [
        ("big", Options(), ["small", "tiny"]),
        ("other", Options(), ["small"]),
        ("small", Options(), []),
        ("", Options(), []),
        ("big", Options(fallback_models=("a", "b")), ["a", "b"]),
        ("big", Options(fallback_models=("a", "big", "a")), ["a"]),
        ("big", Options(fallback_models=()), []),
    ],
)
def test_fallback_models_come_from_the_request_or_the_setting(
    model: str, options: Options, fallbacks: list[str]
) -> None:
    assert SETTING.fallbacks(model, options) == fallbacks


def test_without_a_setting_there_are_none() -> None:
    assert FallbackPolicy().fallbacks("big", Options()) == []


def overloaded(**context: Any) -> UpstreamStatusError:
    return UpstreamStatusError("x", http_status=529, context=UpstreamContext(**context))


class Asked:
    """Fails as it is told to, one request after the other, then answers; notes the requests."""

    def __init__(self, *failures: UpstreamError) -> None:
        self.requests: list[UpstreamRequest] = []
        self._failures = iter(failures)

    async def __call__(self, *fallbacks: str) -> UpstreamRequest:
        request = UpstreamRequest(method="POST", path="/", body=b"big", model="big", max_retries=1)
        return await ask_in_turn(request, fallbacks, self._send, self._encode)

    async def _send(self, request: UpstreamRequest) -> UpstreamRequest:
        self.requests.append(request)
        if failure := next(self._failures, None):
            raise failure
        return request

    @staticmethod
    async def _encode(model: str) -> bytes:
        return model.encode()


async def test_while_the_model_answers_no_other_is_asked() -> None:
    ask = Asked()
    assert (await ask("small")).model == "big"
    assert len(ask.requests) == 1


async def test_models_take_over_one_after_the_other() -> None:
    ask = Asked(
        overloaded(attempts=2, retries=("529",), request_id="req_1"),
        BreakerOpenError("x", retry_after=1, context=UpstreamContext(attempts=2, retries=("529", "529"))),
    )
    answered = await ask("small", "tiny")
    assert [(request.model, request.body) for request in ask.requests] == [
        ("big", b"big"), ("small", b"small"), ("tiny", b"tiny")
    ]  # fmt: skip
    assert ask.requests[1].earlier is not None
    assert (ask.requests[1].earlier.attempts, ask.requests[1].earlier.retries) == (2, ("529", "529"))
    assert ask.requests[1].earlier.fallback == "overloaded"
    assert answered.earlier is not None
    assert (answered.earlier.retries, answered.earlier.fallback) == (("529", "529"), "breaker_open")
    assert answered.max_retries == 1


@pytest.mark.parametrize(
    "error",
    [
        UpstreamStatusError("x", http_status=503),
        UpstreamStatusError("x", http_status=429),
        UpstreamConnectionError("x"),
    ],
)
async def test_for_other_errors_no_model_takes_over(error: UpstreamError) -> None:
    ask = Asked(error)
    with pytest.raises(type(error)):
        await ask("small")
    assert len(ask.requests) == 1


async def test_when_all_have_failed_the_last_error_is_raised() -> None:
    last = overloaded(attempts=2)
    with pytest.raises(UpstreamStatusError) as caught:
        await Asked(overloaded(attempts=1), last)("small")
    assert caught.value is last
