"""What holds for every request to a resource: credentials, headers, failures on demand, the log."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from claude_grpc.simulator import RawAnswer, Simulator, SimulatorOptions
from claude_grpc.simulator.raw_json import ODD_JSON

PATHS = ["/v1/messages/batches", "/v1/files", "/v1/models", "/v1/skills"]
NOTE = ("file", "note.txt", b"Hello")


@pytest.mark.parametrize("path", PATHS)
async def test_a_request_has_a_key_a_version_and_known_betas(ask: Any, path: str) -> None:
    assert (await ask.get(path, x_api_key=None)).status == 401
    assert (await ask.get(path, anthropic_version=None)).status == 400
    assert (await ask.get(path, anthropic_beta="tomorrow-2027-01-01")).status == 400
    reply = await ask.get(path, x_api_key=None, Authorization="Bearer k")
    assert reply.status == 200
    assert reply.headers["request-id"].startswith("req_")
    assert reply.headers["anthropic-ratelimit-requests-limit"] == "4000"
    assert reply.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("limit=0", "limit: Input should be greater than or equal to 1"),
        ("limit=1001", "limit: Input should be less than or equal to 1000"),
        ("limit=ten", "limit: Input should be a valid integer"),
        ("order=asc", "order: Extra inputs are not permitted"),
    ],
)
async def test_a_lists_query_is_checked(ask: Any, path: str, query: str, problem: str) -> None:
    reply = await ask.get(f"{path}?{query}")
    assert (reply.status, reply.error[: len(problem)]) == (400, problem)


@pytest.mark.parametrize("path", ["/v1/messages/batches", "/v1/models"])
async def test_a_page_has_one_neighbour_that_is_there(ask: Any, path: str) -> None:
    for query in ("after_id=a&before_id=b", "after_id=a", "before_id=b"):
        assert (await ask.get(f"{path}?{query}")).status == 400


@pytest.mark.parametrize("page", ["page_", "page_x", "x", "page_c2tpbGxzIDE=", "page_c2tpbGxzIDE"])
async def test_a_page_token_of_another_list_is_refused(ask: Any, page: str) -> None:
    reply = await ask.get(f"/v1/files?page={page}")
    assert (reply.status, reply.error) == (400, "page: Invalid page token")


async def test_the_old_flag_for_betas_is_no_unknown_parameter(ask: Any) -> None:
    assert (await ask.get("/v1/files?beta=true")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/messages/batches/a/cancel", 405),
        ("PUT", "/v1/files/a", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/skills/a/versions/b/c", 404),
        ("GET", "/v1/files/", 404),
    ],
)
async def test_an_unknown_route_is_refused(ask: Any, method: str, path: str, status: int) -> None:
    async with ask.request(method, path, None, {}) as response:
        assert response.status == status


@pytest.mark.parametrize("path", PATHS)
async def test_a_failure_is_scripted(ask: Any, simulator: Simulator, path: str) -> None:
    simulator.script("error 529 retry-after=2", "error 502 html", "", "bad-json", "error-event")
    refused = await ask.get(path)
    assert (refused.status, refused.headers["retry-after"]) == (529, "2")
    assert (await ask.get(path)).body.startswith(b"<html>")
    assert (await ask.get(path)).status == 200
    with pytest.raises(json.JSONDecodeError):
        assert (await ask.get(path)).json
    assert (await ask.get(path)).status == 529


async def test_a_failure_for_some_times_is_of_one_request(ask: Any, simulator: Simulator) -> None:
    simulator.script(*["error 500 times=1"] * 3)
    assert [(await ask.get(path)).status for path in ("/v1/files", "/v1/models", "/v1/files")] == [500, 500, 200]


async def test_a_raw_answer_is_scripted(ask: Any, simulator: Simulator) -> None:
    simulator.script(RawAnswer((b'{"id": "file_1"}',), content_type="application/json"))
    assert (await ask.upload(NOTE)).json == {"id": "file_1"}
    assert not simulator.files


async def test_a_script_waits_for_its_path(ask: Any, simulator: Simulator) -> None:
    simulator.script("error 500", path="/v1/skills*")
    simulator.script("error 503")
    assert (await ask.get("/v1/models")).status == 503
    assert (await ask()).status == 200
    assert (await ask.get("/v1/skills/pdf")).status == 500


@pytest.mark.parametrize("directive", ["truncate", "reset", "cut"])
async def test_any_answer_is_broken_off(ask: Any, simulator: Simulator, directive: str) -> None:
    simulator.script(directive)
    try:
        reply = await ask.get("/v1/models")
    except (aiohttp.ClientError, ConnectionError):
        assert directive != "cut"
    else:
        assert directive == "cut"
        assert not reply.body.endswith(b"}")


async def test_a_failed_upload_was_read_and_leaves_no_file(ask: Any, simulator: Simulator) -> None:
    simulator.script("error 500")
    assert (await ask.upload(NOTE)).status == 500
    assert b"Hello" in simulator.requests[0].body
    assert simulator.requests[0].received == len(simulator.requests[0].body)
    assert not simulator.files


async def test_unknown_fields_are_in_objects_and_lists(ask: Any, simulator: Simulator) -> None:
    simulator.script("extra-field", "extra-field")
    odd = f'"future_field":{ODD_JSON}'
    assert (await ask.get("/v1/models/claude-sonnet-5")).body.decode().count(odd) == 1
    assert (await ask.get("/v1/models?limit=3")).body.decode().count(odd) == 4


class TestHistory:
    @pytest.fixture
    def options(self) -> SimulatorOptions:
        return SimulatorOptions(kept_body_bytes=1000)

    async def test_a_large_body_is_counted_but_not_kept(self, ask: Any, simulator: Simulator) -> None:
        await ask.upload(("file", "a", b"x" * 1000))
        await ask.batch("x" * 1000)
        await ask("x" * 1000)
        for exchange, kept in zip(simulator.requests, (False, False, True), strict=True):
            assert bool(exchange.body) is kept
            assert (exchange.received > 1000) is not kept


async def test_an_unread_error_of_a_client_is_no_error_of_the_connection(ask: Any, simulator: Simulator) -> None:
    refused = await ask.upload(("file", "a:b", b"x" * 1_000_000))
    assert refused.status == 400
    assert (await ask.upload(NOTE)).status == 200
