"""Models: typed, page by page, with tokens that cannot be bent."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import grpc
import pytest

from claude_grpc.codec import Encoder, Violations
from claude_grpc.v1.models_pb2 import (
    MODEL_LIFECYCLE_ACTIVE,
    MODEL_LIFECYCLE_DEPRECATED,
    MODEL_LIFECYCLE_RETIRED,
    MODEL_LIFECYCLE_UNSPECIFIED,
    GetModelRequest,
    ListModelsRequest,
)
from claude_grpc.v1.models_pb2_grpc import ModelsServiceStub
from support.json_values import parse
from support.raw_upstream import Peer, raw_upstreams
from support.stack import Stack, drain, gateway_before

INVALID = grpc.StatusCode.INVALID_ARGUMENT

NEW = {
    "type": "model",
    "id": "claude-next",
    "display_name": "Claude Next",
    "created_at": "2027-01-01T00:00:00Z",
    "lifecycle": "hibernating",
    "line": None,
    "deprecated_at": None,
    "max_tokens": 12345678901,
    "capabilities": {
        "batch": {"supported": True, "how": "fast"},
        "effort": {"supported": True, "low": {"supported": True}, "ultra": {"supported": False}},
        "thinking": {"supported": False, "types": {"adaptive": {"supported": False}}},
        "telepathy": {"supported": True},
    },
    "future": [1, {"a": 1.0}],
}


async def test_a_model_is_typed(stack: Stack) -> None:
    model = (await stack.models.GetModel(GetModelRequest(model_id="claude-opus-5-5"))).model
    assert (model.id, model.type, model.line) == ("claude-opus-5-5", "model", "opus")
    assert (model.lifecycle, model.lifecycle_raw) == (MODEL_LIFECYCLE_ACTIVE, "active")
    assert model.create_time.seconds > 0
    assert model.max_input_tokens > model.max_tokens > 0
    assert model.capabilities.batch.supported
    assert model.capabilities.thinking.types.adaptive.supported
    assert model.capabilities.effort.high.supported
    assert json.loads(model.extra_json) == {"deprecated_at": None, "retires_at": None}


async def test_all_models_come_page_by_page(stack: Stack) -> None:
    whole = await stack.models.ListModels(ListModelsRequest(page_size=1000))
    assert not whole.next_page_token
    ids, request = [], ListModelsRequest(page_size=3)
    while True:
        page = await stack.models.ListModels(request)
        assert 0 < len(page.models) <= 3
        ids += [model.id for model in page.models]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert ids == [model.id for model in whole.models]
    assert len(ids) > 5


async def test_models_of_some_stages_only(stack: Stack) -> None:
    page = await stack.models.ListModels(ListModelsRequest(lifecycles=["deprecated", "retired"]))
    assert {m.lifecycle for m in page.models} <= {MODEL_LIFECYCLE_DEPRECATED, MODEL_LIFECYCLE_RETIRED}
    assert page.models
    assert all(model.HasField("deprecate_time") for model in page.models)
    assert "lifecycle%5B%5D=deprecated&lifecycle%5B%5D=retired" in stack.simulator.requests[-1].path


async def test_a_model_that_is_not_there_is_not_found(stack: Stack) -> None:
    ended = await drain(stack.models.GetModel(GetModelRequest(model_id="gpt")))
    assert (ended.code, ended.info.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


async def test_what_is_new_about_a_model_is_not_lost() -> None:
    async with raw_upstreams() as serve:

        async def script(peer: Peer) -> None:
            await peer.request()
            peer.respond(200, json.dumps(NEW).encode())
            await peer.request()
            peer.respond(200, json.dumps({"data": [NEW, NEW], "next_page": "page_2", "total": 9}).encode())

        upstream = await serve(script)
        async with gateway_before(upstream.url) as (_, channel):
            stub = ModelsServiceStub(channel)  # type: ignore[no-untyped-call]
            model = (await stub.GetModel(GetModelRequest(model_id="claude-next"))).model
            assert (model.lifecycle, model.lifecycle_raw) == (MODEL_LIFECYCLE_UNSPECIFIED, "hibernating")
            assert model.capabilities.batch.supported
            assert parse(Encoder(model.DESCRIPTOR).encode(model, Violations())) == parse(json.dumps(NEW))
            page = await stub.ListModels(ListModelsRequest())
            assert json.loads(page.extra_json) == {"next_page": "page_2", "total": 9}
            assert page.models[0] == page.models[1] == model


async def queries(request: ListModelsRequest, answer: dict[str, Any]) -> tuple[Any, str]:
    """What a list comes to when upstream answers so, and what it was asked."""
    async with raw_upstreams() as serve:
        received = asyncio.get_running_loop().create_future()

        async def script(peer: Peer) -> None:
            received.set_result(await peer.request())
            peer.respond(200, json.dumps(answer).encode())

        upstream = await serve(script)
        async with gateway_before(upstream.url) as (_, channel):
            page = await ModelsServiceStub(channel).ListModels(request)  # type: ignore[no-untyped-call]
        return page, (await received).line.split()[1].partition("?")[2]


@pytest.mark.parametrize(
    ("answer", "query"),
    [
        ({"data": [], "has_more": True, "last_id": "a&b=c"}, "after_id=a%26b%3Dc"),
        ({"data": [], "next_page": "page_é/+"}, "page=page_%C3%A9%2F%2B"),
        ({"data": [], "next_page": "page_2", "has_more": True, "last_id": "x"}, "page=page_2"),
        ({"data": [], "has_more": False, "last_id": "x"}, None),
        ({"data": [], "has_more": True, "last_id": None}, None),
        ({"data": [], "next_page": None}, None),
        ({"data": []}, None),
    ],
)
async def test_either_kind_of_cursor_leads_to_the_next_page(answer: dict[str, Any], query: str | None) -> None:
    page, asked = await queries(ListModelsRequest(), answer)
    assert asked == ""
    assert bool(page.next_page_token) == (query is not None)
    if query is not None:
        _, asked = await queries(ListModelsRequest(page_token=page.next_page_token), answer)
        assert asked == query


@pytest.mark.parametrize(("size", "query"), [(0, ""), (1, "limit=1"), (1000, "limit=1000"), (2**31 - 1, "limit=1000")])
async def test_a_page_has_at_most_a_thousand(size: int, query: str) -> None:
    _, asked = await queries(ListModelsRequest(page_size=size), {"data": []})
    assert asked == query


async def test_a_negative_page_is_refused(stack: Stack) -> None:
    ended = await drain(stack.models.ListModels(ListModelsRequest(page_size=-1)))
    assert (ended.code, list(ended.violations)) == (INVALID, ["page_size"])


async def test_a_token_goes_with_its_list_its_filters_and_nothing_else(stack: Stack) -> None:
    request = ListModelsRequest(page_size=2, lifecycles=["active"])
    token = (await stack.models.ListModels(request)).next_page_token
    opened = base64.urlsafe_b64decode(token + "==")
    bent = [
        ListModelsRequest(page_token=token),
        ListModelsRequest(page_token=token, lifecycles=["retired"]),
        ListModelsRequest(page_token=token, lifecycles=["active"], workspace_id="w"),
        ListModelsRequest(page_token=token, lifecycles=["active"], betas=["b"]),
        *(
            ListModelsRequest(page_token=text, lifecycles=["active"])
            for text in (
                token[:-1],
                token + "A",
                token[::-1],
                "x",
                "é",
                "page_2",
                base64.urlsafe_b64encode(opened[:-1] + b"\xff").decode(),
                base64.urlsafe_b64encode(b"2" + opened[1:]).decode(),
            )
        ),
    ]
    for wrong in bent:
        ended = await drain(stack.models.ListModels(wrong))
        assert (ended.code, list(ended.violations)) == (INVALID, ["page_token"]), wrong
    assert len(stack.simulator.requests) == 1
    request.page_token, request.page_size = token, 5
    assert len((await stack.models.ListModels(request)).models) > 2, "the size of a page may change on the way"


async def test_a_field_of_a_newer_version_is_refused_by_its_number(stack: Stack) -> None:
    for call in (
        stack.models.GetModel(GetModelRequest.FromString(b"\x0a\x01a\xfa\x7f\x00")),
        stack.models.ListModels(ListModelsRequest.FromString(b"\xfa\x7f\x00")),
    ):
        ended = await drain(call)
        assert (ended.code, list(ended.violations)) == (INVALID, ["#2047"])


async def test_all_that_is_wrong_with_a_request_is_told_at_once(stack: Stack) -> None:
    ended = await drain(stack.models.ListModels(ListModelsRequest(betas=["\n"], page_size=-1, page_token="x")))
    assert ended.violations.keys() == {"betas[0]", "page_size", "page_token"}


async def test_headers_of_a_request_reach_upstream(stack: Stack) -> None:
    request = GetModelRequest(
        model_id="claude-opus-5-5", betas=["fast-mode-2026-02-01"], anthropic_version="2023-06-01", workspace_id="w-1"
    )
    await drain(stack.models.GetModel(request))
    headers = stack.simulator.requests[-1].headers
    assert headers["anthropic-beta"] == "fast-mode-2026-02-01"
    assert headers["anthropic-version"] == "2023-06-01"
    assert headers["anthropic-workspace-id"] == "w-1"
