from __future__ import annotations

import io
import json
from typing import Any

import pytest

from claude_grpc.simulator import SimulatorOptions

VERSION_2023 = "2023-06-01"


@pytest.mark.parametrize("headers", [{}, {"x_api_key": None, "authorization": "Bearer token"}])
async def test_a_key_and_a_bearer_token_are_both_taken(ask: Any, headers: dict[str, str | None]) -> None:
    assert (await ask.post(ask.body(), **headers)).status == 200


@pytest.mark.parametrize(
    "headers", [{"x_api_key": None}, {"x_api_key": " "}, {"x_api_key": None, "authorization": "Basic abc"}]
)
async def test_without_a_credential_the_answer_is_401(ask: Any, headers: dict[str, str | None]) -> None:
    reply = await ask.post(ask.body(), **headers)
    assert reply.status == 401
    assert reply.json == {
        "type": "error",
        "error": {"type": "authentication_error", "message": "x-api-key header is required"},
        "request_id": reply.headers["request-id"],
    }


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (None, "anthropic-version: header is required"),
        ("2024-01-01", 'anthropic-version: "2024-01-01" is not a valid version'),
        ("2023-06-01, 2023-06-01", 'anthropic-version: "2023-06-01, 2023-06-01" is not a valid version'),
    ],
)
async def test_a_version_that_is_none_is_refused(ask: Any, version: str | None, message: str) -> None:
    reply = await ask.post(ask.body(), anthropic_version=version)
    assert (reply.status, reply.error) == (400, message)


async def test_known_betas_are_taken_and_others_named(ask: Any) -> None:
    known = "compact-2026-09-04,interleaved-thinking-2025-05-14"
    assert (await ask.post(ask.body(), anthropic_beta=known)).status == 200
    reply = await ask.post(ask.body(), anthropic_beta=f"{known},tomorrow-2027-01-01")
    assert reply.status == 400
    assert "Unsupported beta header" in reply.error
    assert "`tomorrow-2027-01-01`" in reply.error


async def test_every_answer_carries_its_id_the_organization_and_the_limits(ask: Any) -> None:
    first, second = await ask(), await ask([])
    assert first.headers["request-id"] != second.headers["request-id"]
    for reply in (first, second):
        assert reply.headers["anthropic-organization-id"]
        for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
            limit = int(reply.headers[f"anthropic-ratelimit-{kind}-limit"])
            assert 0 < int(reply.headers[f"anthropic-ratelimit-{kind}-remaining"]) <= limit
            assert reply.headers[f"anthropic-ratelimit-{kind}-reset"].endswith("Z")


async def test_unknown_paths_and_methods_have_answers_of_the_api(ask: Any) -> None:
    reply = await ask.post(ask.body(), "/v1/nothing")
    assert (reply.status, reply.json["error"]["type"]) == (404, "not_found_error")
    async with ask.session.get(ask.base_url + "/v1/messages") as response:
        assert response.status == 405


async def test_a_body_above_the_limit_is_413(ask: Any) -> None:
    reply = await ask.post(io.BytesIO(b" " * (32 * 1024 * 1024 + 1)))
    assert (reply.status, reply.json["error"]["type"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{", "The request body is not valid JSON: "),
        (b"", "The request body is not valid JSON: "),
        (b'{"model": "\xff"}', "The request body is not valid JSON: "),
        (b'{"max_tokens": NaN}', "The request body is not valid JSON: unexpected constant: NaN"),
        (b'{"model": "\\ud800"}', "The request body is not valid JSON: "),
        (b"[" * 100_000, "The request body is not valid JSON: "),
        (b'{"model": "a", "stream": {"a": 1, "a": 2}, "model": "b"}', "duplicate key `model`"),
        (b"[1]", "Input should be a valid dictionary"),
    ],
)
async def test_what_is_no_json_object_is_refused(ask: Any, raw: bytes, message: str) -> None:
    reply = await ask.post(raw)
    assert reply.status == 400
    assert message in reply.error


@pytest.mark.parametrize("missing", ["model", "messages", "max_tokens"])
async def test_required_parameters_are_required(ask: Any, missing: str) -> None:
    body = ask.body()
    del body[missing]
    assert (await ask.post(body)).error == f"{missing}: Field required"


FORCED: dict[str, Any] = {"tools": [{"name": "a", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any"}}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"foo": 1}, "foo: Extra inputs are not permitted"),
        ({"max_tokens": "5"}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": 1.0}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
        ({"stream": 1}, "stream: Input should be a valid boolean"),
        ({"system": 1}, "system: Input should be a valid string"),
        ({"stop_sequences": [1]}, "stop_sequences.0: Input should be a valid string"),
        ({"stop_sequences": [" "]}, "stop_sequences: each stop sequence must contain non-whitespace"),
        ({"service_tier": "gold"}, "service_tier: Input should be 'auto' or 'standard_only'"),
        (
            {"output_config": {"effort": "some"}},
            "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
        ),
        ({"context_management": {}}, "context_management: Extra inputs are not permitted"),
        ({"thinking": {}}, "thinking.type: Field required"),
        ({"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": "1024"}},
            "thinking.enabled.budget_tokens: Input should be a valid integer",
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 1023}},
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 4096}},
            "`max_tokens` must be greater than `thinking.budget_tokens`.",
        ),
        (
            {"thinking": {"type": "adaptive"}} | FORCED,
            "Thinking may not be enabled when tool_choice forces tool use.",
        ),
        ({"tools": [{"name": "a"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [{"name": "a", "input_schema": {}}]}, "tools.0.custom.input_schema.type: Field required"),
        ({"tools": [{"name": "a", "input_schema": "{}"}]}, "tools.0.custom.input_schema: Input should be a valid dict"),
        ({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}, "tools.0.custom.name: String should match"),
        ({"tools": [1]}, "tools.0: Input should be a valid dictionary"),
        ({"tools": [{"type": "future_20270101"}]}, "tools.0: Input tag 'future' found using 'type'"),
        ({"tools": FORCED["tools"] * 2}, "tools: Tool names must be unique."),
        ({"tool_choice": {"type": "auto"}}, "tool_choice: may only be specified while providing tools"),
        (FORCED | {"tool_choice": {"type": "tool"}}, "tool_choice.tool.name: Field required"),
        (
            FORCED | {"tool_choice": {"type": "tool", "name": "b"}},
            "tool_choice: Tool 'b' not found in provided tools",
        ),
        ({"cache_control": {"type": "eternal"}}, "cache_control: Input tag 'eternal' found using 'type'"),
        (
            {"cache_control": {"type": "ephemeral", "ttl": "2h"}},
            "cache_control.ephemeral.ttl: Input should be '5m' or '1h'",
        ),
    ],
)
async def test_a_wrong_parameter_is_named(ask: Any, parameters: dict[str, Any], message: str) -> None:
    reply = await ask(**parameters)
    assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_request_error")
    assert reply.error.startswith(message)


async def test_a_model_of_another_house_is_not_found(ask: Any) -> None:
    reply = await ask(model="gpt-5")
    assert (reply.status, reply.json["error"]) == (404, {"type": "not_found_error", "message": "model: gpt-5"})


@pytest.mark.parametrize("parameter", ["temperature", "top_p", "top_k"])
async def test_sampling_is_for_the_older_version_alone(ask: Any, parameter: str) -> None:
    body = ask.body(**{parameter: 1})
    assert (await ask.post(body, anthropic_version=VERSION_2023)).status == 200
    assert (await ask.post(body)).error.startswith(f"{parameter}: ")


async def test_sampling_has_the_older_versions_own_rules(ask: Any) -> None:
    hot = await ask.post(ask.body(temperature=1.5), anthropic_version=VERSION_2023)
    assert hot.error == "temperature: Input should be between 0 and 1"
    cool = ask.body(temperature=0.5, thinking={"type": "adaptive"})
    reply = await ask.post(cool, anthropic_version=VERSION_2023)
    assert reply.error == "`temperature` may only be set to 1 when thinking is enabled."


async def test_a_beta_unlocks_its_parameter(ask: Any) -> None:
    body = ask.body(context_management={"edits": []})
    assert (await ask.post(body, anthropic_beta="context-management-2025-06-27")).status == 200


async def test_count_tokens_takes_no_parameter_of_an_answer(ask: Any) -> None:
    reply = await ask.post(ask.body(), "/v1/messages/count_tokens")
    assert reply.error == "max_tokens: Extra inputs are not permitted"


async def test_four_cache_marks_are_taken_and_five_refused(ask: Any, weather_tool: dict[str, Any]) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    text = {"type": "text", "text": "Hi"} | mark
    four = {"system": [text], "tools": [weather_tool | mark]}
    assert (await ask([{"role": "user", "content": [text, text]}], **four)).status == 200
    reply = await ask([{"role": "user", "content": [text, text]}], **four, **mark)
    assert reply.error == "A maximum of 4 blocks with cache_control may be provided. Found 5."


async def test_free_form_json_holds_no_cache_marks(ask: Any) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    call = {"type": "tool_use", "id": "toolu_1", "name": "a", "input": {"content": [mark] * 9} | mark}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "done"}
    reply = await ask([{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}])
    assert reply.status == 200


class TestExtras:
    @pytest.fixture
    def options(self) -> SimulatorOptions:
        return SimulatorOptions(
            extra_parameters=frozenset({"tomorrow"}),
            extra_fields=frozenset({"more"}),
            extra_block_types=frozenset({"hologram", "future_20270101"}),
            extra_betas=frozenset({"tomorrow-2027-01-01"}),
            max_body_bytes=1000,
        )

    async def test_what_the_options_name_is_taken(self, ask: Any) -> None:
        blocks = [{"type": "text", "text": "Hi", "more": 1}, {"type": "hologram", "content": [1]}]
        body = ask.body([{"role": "user", "content": blocks}], tomorrow=None, tools=[{"type": "future_20270101"}])
        assert (await ask.post(body, anthropic_beta="tomorrow-2027-01-01")).status == 200

    async def test_the_limit_of_bodies_is_an_option(self, ask: Any) -> None:
        assert (await ask.post(json.dumps(ask.body("a" * 1000)).encode())).status == 413
