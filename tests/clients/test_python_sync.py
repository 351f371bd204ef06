from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc_testing
import pytest

from claude_grpc.v1 import messages_pb2
from claude_grpc_client import (
    CallCancelledError,
    Client,
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    UnavailableError,
    UnimplementedError,
)

QUESTION: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [("user", "Hi")]}
SERVICE = messages_pb2.DESCRIPTOR.services_by_name["MessagesService"]
STREAM_MESSAGE = SERVICE.methods_by_name["StreamMessage"]


@pytest.fixture
def client(threaded_fake: Any) -> Iterator[Client]:
    with Client(threaded_fake.target) as client:
        yield client


def test_create_returns_the_message(client: Client, threaded_fake: Any) -> None:
    threaded_fake.play(message=messages_pb2.AssistantMessage(id="msg_1"))
    assert client.create(**QUESTION, betas=["a"], timeout=50).id == "msg_1"
    assert threaded_fake.requests[0].params.messages[0].text == "Hi"
    assert list(threaded_fake.requests[0].betas) == ["a"]
    assert 30 < threaded_fake.time_remaining < 70


def test_count_tokens_and_server_info_return_what_the_gateway_says(client: Client) -> None:
    assert client.count_tokens(model="m", messages=[("user", "Hi")]).input_tokens == 7
    assert client.server_info().version == "1.2.3"


def test_headers_go_with_the_call(client: Client, threaded_fake: Any) -> None:
    client.count_tokens(messages_pb2.MessageParams(), call_metadata=[("traceparent", "00-1-2-01")])
    assert threaded_fake.metadata["traceparent"] == "00-1-2-01"
    assert threaded_fake.metadata["user-agent"].startswith("claude-grpc-client/")


def test_messages_over_grpcs_own_limit_pass_both_ways(client: Client, threaded_fake: Any) -> None:
    text = "x" * (8 << 20)
    threaded_fake.play(message=messages_pb2.AssistantMessage(id=text))
    assert client.create(model="m", messages=[("user", text)]).id == text


def test_a_channel_may_be_encrypted() -> None:
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        port = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
        server.start()
        with (
            Client(f"127.0.0.1:{port}", credentials=grpc.local_channel_credentials()) as client,
            pytest.raises(UnimplementedError),
        ):
            client.server_info()
        server.stop(None).wait()


def test_a_stream_yields_every_event_in_order(client: Client, threaded_fake: Any, answer: Any) -> None:
    threaded_fake.play(events=answer)
    with client.stream(**QUESTION) as stream:
        assert (stream.request_id, stream.trailers) == ("", {})
        assert list(stream) == answer
        assert stream.request_id == "req_1"
        assert stream.trailers == {"request-id": "req_1"}
        assert stream.final_message() == answer[-1].message_stop.message
    assert threaded_fake.requests[0].stream_options.include_final_message


def test_the_text_stream_has_the_text_alone(client: Client, threaded_fake: Any, answer: Any) -> None:
    threaded_fake.play(events=answer)
    with client.stream(**QUESTION) as stream:
        assert list(stream.text_stream) == ["Hello ", "world"]
        assert stream.final_message().stop_reason_raw == "end_turn"


def test_an_end_without_the_final_message_is_an_error(client: Client, threaded_fake: Any, answer: Any) -> None:
    threaded_fake.play(events=answer[:-1])
    with client.stream(**QUESTION) as stream, pytest.raises(InternalError, match="without its final message"):
        stream.final_message()


def test_an_error_in_the_middle_is_partial_and_stays(
    client: Client, threaded_fake: Any, answer: Any, overloaded: Any
) -> None:
    threaded_fake.play(events=answer[:3], **overloaded)
    with client.stream(**QUESTION) as stream:
        with pytest.raises(UnavailableError, match="Overloaded") as caught:
            list(stream)
        assert (caught.value.reason, caught.value.retry_delay, caught.value.partial) == ("OVERLOADED", 1.5, True)
        assert stream.request_id == "req_9"
        with pytest.raises(UnavailableError, match="Overloaded"):
            stream.final_message()


def test_a_unary_error_is_raised_decoded(client: Client, threaded_fake: Any, invalid: Any) -> None:
    threaded_fake.play(**invalid)
    with pytest.raises(InvalidRequestError) as caught:
        client.create(**QUESTION)
    assert caught.value.violations == (("params.model", "Must be set."), ("params.messages", ""))
    assert caught.value.request_id == "req_9"


def test_a_passed_deadline_is_raised(client: Client, threaded_fake: Any) -> None:
    threaded_fake.play(hangs=True)
    with pytest.raises(DeadlineExceededError):
        client.create(**QUESTION, timeout=0.1)


def test_leaving_the_context_early_cancels_the_call(client: Client, threaded_fake: Any, answer: Any) -> None:
    threaded_fake.play(events=answer[:3], hangs=True)
    with client.stream(**QUESTION) as stream:
        next(stream)
        assert not threaded_fake.ended.is_set()
    assert threaded_fake.ended.wait(20)
    with pytest.raises(CallCancelledError):
        stream.final_message()


@pytest.fixture
def channel() -> Any:
    """A channel without a server: the test itself answers the calls."""
    return grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())


def test_a_stream_on_a_fake_channel_yields_events_and_trailers(channel: Any, answer: Any) -> None:
    def read() -> tuple[list[Any], str]:
        with Client(channel=channel).stream(**QUESTION) as stream:
            return list(stream), stream.request_id

    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(read)
        _, request, rpc = channel.take_unary_stream(STREAM_MESSAGE)
        for event in answer:
            rpc.send_response(event)
        rpc.terminate((("request-id", "req_1"),), grpc.StatusCode.OK, "")
        assert reading.result(20) == (answer, "req_1")
    assert request.params.messages[0].text == "Hi"


def test_early_leave_on_a_fake_channel_cancels_the_call(channel: Any, answer: Any) -> None:
    has_left = threading.Event()

    def read() -> None:
        with Client(channel=channel).stream(**QUESTION) as stream:
            next(stream)
        has_left.set()

    with ThreadPoolExecutor(1) as threads:
        threads.submit(read)
        _, _, rpc = channel.take_unary_stream(STREAM_MESSAGE)
        rpc.send_response(answer[0])
        rpc.cancelled()  # returns when the call is cancelled
        assert has_left.wait(20)
