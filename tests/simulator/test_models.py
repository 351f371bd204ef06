from __future__ import annotations

from typing import Any

import pytest

MODELS = "/v1/models"


def stages(reply: Any) -> set[str]:
    return {model["lifecycle"] for model in reply.json["data"]}


async def test_retired_models_are_listed_on_request_only(ask: Any) -> None:
    assert stages(await ask.get(MODELS)) == {"active", "deprecated"}
    assert stages(await ask.get(f"{MODELS}?lifecycle%5B%5D=retired")) == {"retired"}
    assert stages(await ask.get(f"{MODELS}?lifecycle[]=retired&lifecycle[]=active")) == {"retired", "active"}


async def test_models_are_listed_newest_first_by_page(ask: Any) -> None:
    whole = (await ask.get(MODELS)).json
    assert whole["has_more"] is False
    assert [model["created_at"] for model in whole["data"]] == sorted(
        (model["created_at"] for model in whole["data"]), reverse=True
    )
    first = (await ask.get(f"{MODELS}?limit=2")).json
    rest = (await ask.get(f"{MODELS}?after_id={first['last_id']}")).json
    assert first["data"] + rest["data"] == whole["data"]
    assert first["has_more"] is True


async def test_a_model_tells_what_it_can_do(ask: Any) -> None:
    model = (await ask.get(f"{MODELS}/claude-sonnet-5")).json
    assert (model["type"], model["line"], model["lifecycle"]) == ("model", "sonnet", "active")
    assert (model["deprecated_at"], model["retires_at"]) == (None, None)
    assert model["capabilities"]["effort"]["xhigh"] == {"supported": True}
    assert model["capabilities"]["thinking"]["types"]["enabled"] == {"supported": False}
    assert model["capabilities"]["server_tools"]["web_search"] == {"supported": True}
    old = (await ask.get(f"{MODELS}/claude-2.1")).json
    assert (old["line"], old["capabilities"]["batch"]["supported"]) == (None, False)
    assert old["capabilities"].keys() == model["capabilities"].keys()


async def test_a_short_name_stands_for_a_dated_one(ask: Any) -> None:
    assert (await ask.get(f"{MODELS}/claude-haiku-4-5")).json["id"] == "claude-haiku-4-5-20251001"


async def test_betas_tell_more(ask: Any) -> None:
    path = f"{MODELS}/claude-sonnet-5"
    told = (await ask.get(path, anthropic_beta="server-side-fallback-2026-06-01,compact-2026-09-04")).json
    assert told["allowed_fallback_models"] == ["claude-sonnet-5-5", "claude-sonnet-4-6"]
    assert told["capabilities"]["compaction"]["summarize"] == {"supported": True}
    plain = (await ask.get(path)).json
    assert "allowed_fallback_models" not in plain
    assert "compaction" not in plain["capabilities"]


async def test_an_unknown_model_is_not_found(ask: Any) -> None:
    reply = await ask.get(f"{MODELS}/claude-0")
    assert reply.json["error"] == {"type": "not_found_error", "message": "model: claude-0"}


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("lifecycle[]=old", "lifecycle.0: Input should be 'active', 'deprecated' or 'retired'"),
        ("lifecycle[]=active&" * 4, "lifecycle: List should have at most 3 items after validation"),
        ("page=page_1", "page: Extra inputs are not permitted"),
    ],
)
async def test_a_wrong_query_is_refused(ask: Any, query: str, problem: str) -> None:
    reply = await ask.get(f"{MODELS}?{query}")
    assert (reply.status, reply.error) == (400, problem)
