from __future__ import annotations

import json
from typing import Any

import pytest

from claude_grpc.simulator import Simulator, SimulatorOptions
from claude_grpc.simulator.raw_json import ODD_JSON

BATCHES = "/v1/messages/batches"
DAY = 24 * 3600


def lines_of(reply: Any) -> list[dict[str, Any]]:
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/x-jsonl"
    return [json.loads(line) for line in reply.body.splitlines()]


async def results(ask: Any, batch_id: str) -> list[dict[str, Any]]:
    return lines_of(await ask.get(f"{BATCHES}/{batch_id}/results"))


async def test_a_batch_begins_in_progress_and_ends_at_its_second_retrieve(ask: Any, simulator: Simulator) -> None:
    made = await ask.batch("Hello", "Hi")
    batch = made.json
    assert (made.status, batch["type"], batch["processing_status"]) == (200, "message_batch", "in_progress")
    assert batch["id"].startswith("msgbatch_")
    assert batch["request_counts"] == {"processing": 2, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    for name in ("ended_at", "archived_at", "cancel_initiated_at", "results_url"):
        assert batch[name] is None
    first = await ask.get(f"{BATCHES}/{batch['id']}")
    assert (first.json, first.headers["retry-after"]) == (batch, "10")
    second = await ask.get(f"{BATCHES}/{batch['id']}")
    assert "retry-after" not in second.headers
    assert second.json["processing_status"] == "ended"
    assert second.json["request_counts"] == {
        "processing": 0,
        "succeeded": 2,
        "errored": 0,
        "canceled": 0,
        "expired": 0,
    }
    assert second.json["results_url"] == f"{simulator.base_url}{BATCHES}/{batch['id']}/results"
    assert second.json["created_at"] <= second.json["ended_at"] < second.json["expires_at"]


async def test_a_result_is_the_message_that_the_request_would_get(ask: Any, simulator: Simulator) -> None:
    batch = (await ask.batch("Hello")).json
    simulator.advance_batches()
    (line,) = await results(ask, batch["id"])
    message = (await ask("Hello")).json
    message["usage"]["service_tier"] = "batch"
    assert line == {"custom_id": "0", "result": {"type": "succeeded", "message": message}}


async def test_each_request_has_the_fate_that_its_prompt_asks_for(ask: Any, simulator: Simulator) -> None:
    batch = (
        await ask.batch("Hi", "[[error 529]]", "[[error-event rate_limit_error]]", "[[cancel]]", "[[expire]]")
    ).json
    simulator.advance_batches()
    by_name = {line["custom_id"]: line["result"] for line in await results(ask, batch["id"])}
    assert by_name["0"]["type"] == "succeeded"
    assert by_name["1"] == {
        "type": "errored",
        "error": {
            "type": "error",
            "error": {
                "type": "overloaded_error",
                "message": "Overloaded",
                "details": {"error_visibility": "user_facing"},
            },
            "request_id": None,
        },
    }
    assert by_name["2"]["error"]["error"]["type"] == "rate_limit_error"
    assert (by_name["3"], by_name["4"]) == ({"type": "canceled"}, {"type": "expired"})
    counts = (await ask.get(f"{BATCHES}/{batch['id']}")).json["request_counts"]
    assert counts == {"processing": 0, "succeeded": 1, "errored": 2, "canceled": 1, "expired": 1}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"messages": ...}, "messages: Field required"),
        ({"model": "gpt-5"}, "model: gpt-5"),
        ({"stream": True}, '"stream=True" is not supported in the Message Batches API'),
        ({"max_tokens": 0}, "max_tokens: must be greater than or equal to 1"),
        ({"temperature": 1}, "temperature: Sampling parameters are not supported in API version 2026-10-21"),
    ],
)
async def test_what_is_wrong_in_a_request_is_found_when_it_is_run(
    ask: Any, simulator: Simulator, change: dict[str, Any], problem: str
) -> None:
    params = {name: value for name, value in (ask.body() | change).items() if value is not ...}
    batch = (await ask.post({"requests": [{"custom_id": "a", "params": params}]}, BATCHES)).json
    simulator.advance_batches()
    (line,) = await results(ask, batch["id"])
    assert line["result"]["error"]["error"]["message"] == problem


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{", "The request body is not valid JSON: "),
        (b'{"requests":[{"custom_id":"a","params":{]}]}', "The request body is not valid JSON: "),
        (b"[]", "Input should be a valid dictionary"),
        ({}, "requests: Field required"),
        ({"requests": [], "model": "m"}, "model: Extra inputs are not permitted"),
        ({"requests": {}}, "requests: Input should be a valid list"),
        ({"requests": []}, "requests: List should have at least 1 item after validation, not 0"),
        ({"requests": [1]}, "requests.0: Input should be a valid dictionary"),
        ({"requests": [{"params": {}}]}, "requests.0.custom_id: Field required"),
        ({"requests": [{"custom_id": "a"}]}, "requests.0.params: Field required"),
        ({"requests": [{"custom_id": 1, "params": {}}]}, "requests.0.custom_id: Input should be a valid string"),
        ({"requests": [{"custom_id": "a", "params": []}]}, "requests.0.params: Input should be a valid dictionary"),
        ({"requests": [{"custom_id": "a", "params": {}, "b": 1}]}, "requests.0.b: Extra inputs are not permitted"),
        (
            {"requests": [{"custom_id": "a" * 65, "params": {}}]},
            "requests.0.custom_id: String should have at most 64 characters",
        ),
        (
            {"requests": [{"custom_id": "a b", "params": {}}]},
            "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
        ),
        (
            {"requests": [{"custom_id": name, "params": {}} for name in ("a", "b", "a")]},
            "requests: custom_id's must be unique within a batch. Duplicate custom_id found: a",
        ),
    ],
)
async def test_what_is_wrong_around_the_requests_is_told_at_once(ask: Any, body: Any, problem: str) -> None:
    reply = await ask.post(body, BATCHES)
    assert reply.status == 400
    assert reply.error.startswith(problem)
    assert (await ask.get(BATCHES)).json["data"] == []


class TestLimits:
    @pytest.fixture
    def options(self) -> SimulatorOptions:
        return SimulatorOptions(max_batch_requests=2, max_batch_bytes=2000, max_objects=2, max_stored_bytes=1000)

    async def test_a_batch_has_no_more_requests_and_bytes(self, ask: Any, simulator: Simulator) -> None:
        reply = await ask.batch("a", "b", "c")
        assert reply.error == "requests: List should have at most 2 items after validation, not 3"
        reply = await ask.batch("a" * 2000)
        assert (reply.status, reply.json["error"]["type"]) == (413, "request_too_large")

    async def test_the_body_of_unknown_length_is_limited_too(self, ask: Any) -> None:
        async def chunks() -> Any:
            for _ in range(3):
                yield b" " * 1000

        assert (await ask.post(chunks(), BATCHES)).status == 413

    async def test_what_is_kept_is_limited(self, ask: Any, simulator: Simulator) -> None:
        reply = await ask.batch("a" * 1000)
        assert reply.json["error"]["details"] == {"error_code": "storage_quota_exceeded"}
        first = (await ask.batch("a")).json
        await ask.batch("b")
        assert (await ask.batch("c")).status == 429
        simulator.advance_batches()
        assert (await ask.delete(f"{BATCHES}/{first['id']}")).status == 200
        assert (await ask.batch("c")).status == 200


async def test_results_are_shuffled_always_the_same_way(ask: Any, simulator: Simulator) -> None:
    texts = [f"Question {place}" for place in range(2000)]
    batch = (await ask.batch(*texts)).json
    simulator.advance_batches()
    names = [line["custom_id"] for line in await results(ask, batch["id"])]
    assert names != sorted(names, key=int)
    assert sorted(map(int, names)) == list(range(2000))
    assert [line["custom_id"] for line in await results(ask, batch["id"])] == names


async def test_a_canceled_batch_ends_with_what_was_done(ask: Any, simulator: Simulator) -> None:
    batch = (await ask.batch(*"abcd")).json
    simulator.advance_batches(0.5)
    canceled = await ask.post(b"", f"{BATCHES}/{batch['id']}/cancel")
    assert (canceled.status, canceled.json["processing_status"]) == (200, "canceling")
    assert canceled.json["cancel_initiated_at"] is not None
    assert canceled.json["request_counts"]["processing"] == 4
    assert (await ask.post(b"", f"{BATCHES}/{batch['id']}/cancel")).json == canceled.json
    ended = (await ask.get(f"{BATCHES}/{batch['id']}")).json
    assert (ended["processing_status"], ended["request_counts"]["canceled"]) == ("ended", 2)
    kinds = [line["result"]["type"] for line in await results(ask, batch["id"])]
    assert kinds == ["succeeded", "succeeded", "canceled", "canceled"]
    reply = await ask.post(b"", f"{BATCHES}/{batch['id']}/cancel")
    assert (reply.status, "already ended" in reply.error) == (400, True)


async def test_a_batch_expires_after_a_day_with_what_was_done(ask: Any, simulator: Simulator) -> None:
    batch = (await ask.batch(*"abcd")).json
    simulator.advance_batches(0.25)
    simulator.pass_time(DAY)
    ended = (await ask.get(f"{BATCHES}/{batch['id']}")).json
    assert (ended["processing_status"], ended["ended_at"]) == ("ended", ended["expires_at"])
    assert ended["request_counts"] == {"processing": 0, "succeeded": 1, "errored": 0, "canceled": 0, "expired": 3}
    assert [line["result"]["type"] for line in await results(ask, batch["id"])] == ["succeeded", *["expired"] * 3]


async def test_results_are_gone_after_29_days(ask: Any, simulator: Simulator) -> None:
    batch = (await ask.batch("a")).json
    simulator.advance_batches()
    simulator.pass_time(29 * DAY)
    archived = (await ask.get(f"{BATCHES}/{batch['id']}")).json
    assert archived["archived_at"] is not None
    assert archived["results_url"] is None
    reply = await ask.get(f"{BATCHES}/{batch['id']}/results")
    assert (reply.status, reply.error) == (404, f"Message Batch {batch['id']} has no available results.")


async def test_before_its_end_a_batch_has_no_results_and_cannot_be_deleted(ask: Any, simulator: Simulator) -> None:
    path = f"{BATCHES}/{(await ask.batch('a')).json['id']}"
    assert (await ask.get(f"{path}/results")).status == 404
    refused = await ask.delete(path)
    assert refused.status == 400
    assert refused.error == "In progress batches cannot be deleted. Consider canceling the batch instead."
    await ask.post(b"", f"{path}/cancel")
    assert (await ask.delete(path)).status == 400
    simulator.advance_batches()
    deleted = await ask.delete(path)
    assert deleted.json == {"id": path.rpartition("/")[2], "type": "message_batch_deleted"}
    assert (await ask.get(path)).status == 404


@pytest.mark.parametrize("path", ["", "/results"])
async def test_an_unknown_batch_is_not_found(ask: Any, path: str) -> None:
    reply = await ask.get(f"{BATCHES}/msgbatch_1{path}")
    assert reply.json["error"] == {"type": "not_found_error", "message": "Message Batch msgbatch_1 not found."}


async def test_batches_are_listed_newest_first(ask: Any) -> None:
    ids = [(await ask.batch("a")).json["id"] for _ in range(3)][::-1]
    page = (await ask.get(f"{BATCHES}?limit=2")).json
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == (ids[:2], True)
    assert (page["first_id"], page["last_id"]) == (ids[0], ids[1])
    page = (await ask.get(f"{BATCHES}?limit=2&after_id={ids[1]}")).json
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == (ids[2:], False)
    page = (await ask.get(f"{BATCHES}?limit=1&before_id={ids[2]}")).json
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == (ids[1:2], True)
    page = (await ask.get(f"{BATCHES}?limit=1&before_id={ids[0]}")).json
    assert page == {"data": [], "has_more": False, "first_id": None, "last_id": None}


class TestBySeconds:
    @pytest.fixture
    def options(self) -> SimulatorOptions:
        return SimulatorOptions(batch_seconds=100, batch_retry_after=0, seed=7)

    async def test_a_batch_ends_by_the_clock(self, ask: Any, simulator: Simulator) -> None:
        path = f"{BATCHES}/{(await ask.batch(*'abcd')).json['id']}"
        for _ in range(5):
            reply = await ask.get(path)
            assert (reply.json["processing_status"], "retry-after" in reply.headers) == ("in_progress", False)
        simulator.pass_time(100)
        assert (await ask.get(path)).json["processing_status"] == "ended"

    async def test_what_is_done_when_it_is_canceled_depends_on_the_clock(self, ask: Any, simulator: Simulator) -> None:
        path = f"{BATCHES}/{(await ask.batch(*'abcd')).json['id']}"
        simulator.pass_time(60)
        await ask.post(b"", f"{path}/cancel")
        assert (await ask.get(path)).json["request_counts"]["succeeded"] == 2


class TestByHand:
    @pytest.fixture
    def options(self) -> SimulatorOptions:
        return SimulatorOptions(batch_polls=0, results_host="http://elsewhere.invalid:1")

    async def test_a_batch_moves_only_when_it_is_told_to(self, ask: Any, simulator: Simulator) -> None:
        path = f"{BATCHES}/{(await ask.batch('a')).json['id']}"
        for _ in range(3):
            simulator.advance_batches(1 / 3)
            status = (await ask.get(path)).json["processing_status"]
            assert status == (await ask.get(path)).json["processing_status"]
        assert status == "ended"

    async def test_its_results_may_be_said_to_be_elsewhere(self, ask: Any, simulator: Simulator) -> None:
        path = f"{BATCHES}/{(await ask.batch('a')).json['id']}"
        simulator.advance_batches()
        assert (await ask.get(path)).json["results_url"] == f"http://elsewhere.invalid:1{path}/results"


async def test_what_nobody_has_heard_of_is_in_the_results(ask: Any, simulator: Simulator) -> None:
    texts = ("[[unknown-result]]", "[[extra-field]]", "[[unknown-block]]", "[[bad-json]]")
    batch = (await ask.batch(*texts)).json
    simulator.advance_batches()
    reply = await ask.get(f"{BATCHES}/{batch['id']}/results")
    lines = {line[14:15].decode(): line.decode() for line in reply.body.splitlines()}
    assert lines["0"] == f'{{"custom_id":"0","result":{{"type":"future_result","future_field":{ODD_JSON}}}}}'
    assert lines["1"].endswith(f'"future_field":{ODD_JSON}}},"future_field":{ODD_JSON}}}')
    assert '"type":"future_block"' in lines["2"]
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(lines["3"])


@pytest.mark.parametrize("at", [0, 2])
async def test_results_can_be_cut_after_a_line(ask: Any, simulator: Simulator, at: int) -> None:
    batch = (await ask.batch(*"abcd")).json
    simulator.advance_batches()
    whole = await results(ask, batch["id"])
    simulator.script(f"cut at={at}", path="*/results")
    await ask.get(f"{BATCHES}/{batch['id']}")
    assert await results(ask, batch["id"]) == whole[:at]
    assert await results(ask, batch["id"]) == whole


async def test_the_older_version_holds_for_each_request(ask: Any, simulator: Simulator) -> None:
    body = {"requests": [{"custom_id": "a", "params": ask.body(temperature=0.5)}]}
    batch = (await ask.post(body, BATCHES, anthropic_version="2023-06-01")).json
    simulator.advance_batches()
    (line,) = await results(ask, batch["id"])
    assert line["result"]["type"] == "succeeded"


async def test_signed_thinking_of_a_batch_is_taken_back(ask: Any, simulator: Simulator) -> None:
    params = ask.body("Why?", thinking={"type": "enabled", "budget_tokens": 1024})
    batch = (await ask.post({"requests": [{"custom_id": "a", "params": params}]}, BATCHES)).json
    simulator.advance_batches()
    (line,) = await results(ask, batch["id"])
    answer = {"role": "assistant", "content": line["result"]["message"]["content"]}
    assert answer["content"][0]["type"] == "thinking"
    reply = await ask([*params["messages"], answer, {"role": "user", "content": "And?"}])
    assert reply.status == 200
