"""Results of the API's own tools on their way back: whole, and after their calls."""

from __future__ import annotations

from typing import Any

import pytest

TEXT = {"type": "text", "text": "Hi"}
CALL = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "bash_code_execution", "input": {}}
RAN = {"type": "bash_code_execution_result", "content": [], "return_code": 0, "stderr": "", "stdout": ""}
RESULT = {"type": "bash_code_execution_tool_result", "tool_use_id": "srvtoolu_1", "content": RAN}
FETCH = {"type": "web_fetch_tool_result", "tool_use_id": "srvtoolu_1", "content": {"type": "web_fetch_result"}}
SEARCH = CALL | {"name": "tool_search_tool_bm25"}
FOUND = {"type": "tool_search_tool_search_result", "tool_references": []}
SEARCHED = {"type": "tool_search_tool_result", "tool_use_id": "srvtoolu_1", "content": FOUND}


def conversation(*blocks: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": list(blocks)}]


@pytest.mark.parametrize("blocks", [(CALL, RESULT), (TEXT, CALL, TEXT, RESULT, TEXT), (SEARCH, SEARCHED)])
async def test_a_call_with_its_result_is_taken(ask: Any, blocks: Any) -> None:
    messages = [*conversation(*blocks), {"role": "user", "content": "And?"}]
    reply = await ask(messages)
    assert reply.status == 200, reply.error


async def test_a_paused_turn_may_end_with_a_call_and_its_result_follow_in_the_next_message(ask: Any) -> None:
    paused = conversation(CALL)
    assert (await ask(paused)).status == 200
    assert (await ask([*paused, {"role": "assistant", "content": [RESULT]}])).status == 200


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ((CALL, TEXT), "messages.1: calls were found without their results after them: srvtoolu_1 without `bash_code_"),
        ((RESULT,), "messages.1.content.0: unexpected `tool_use_id` found in `bash_code_execution_tool_result` blocks"),
        ((RESULT, CALL), "messages.1.content.0: unexpected `tool_use_id` found in `bash_code_execution_tool_result`"),
        ((CALL, RESULT, RESULT), "messages.1.content.2: unexpected `tool_use_id` found"),
        ((SEARCH, RESULT), "messages.1.content.1: unexpected `tool_use_id` found"),
        (
            (CALL, RESULT | {"content": {"type": "web_search_result"}}),
            "messages.1.content.1.bash_code_execution_tool_result.content: Input tag 'web_search_result' found",
        ),
        (
            (CALL, RESULT | {"content": "done"}),
            "messages.1.content.1.bash_code_execution_tool_result.content: Input should be a valid dictionary",
        ),
        (
            (CALL, RESULT | {"content": RAN | {"content": [{"type": "bash_code_execution_output"}]}}),
            "messages.1.content.1.bash_code_execution_tool_result.content.content.0.bash_code_execution_output.file_id",
        ),
        (
            (CALL, RESULT | {"content": RAN | {"more": 1}}),
            "messages.1.content.1.bash_code_execution_tool_result.content.bash_code_execution_result.more: Extra",
        ),
        (
            (CALL | {"name": "web_fetch"}, FETCH),
            "messages.1.content.1.web_fetch_tool_result.content.web_fetch_result.content: Field required",
        ),
    ],
)
async def test_what_is_lost_or_misplaced_is_refused(ask: Any, blocks: Any, message: str) -> None:
    reply = await ask([*conversation(*blocks), {"role": "user", "content": "And?"}])
    assert reply.status == 400
    assert reply.error.startswith(message), reply.error


async def test_results_of_server_tools_stand_in_assistant_turns_alone(ask: Any) -> None:
    reply = await ask([{"role": "user", "content": [CALL, RESULT]}])
    assert reply.error == "messages.0.content.0: `server_tool_use` blocks can only be in `assistant` messages"


async def test_a_server_tools_input_is_free_form(ask: Any) -> None:
    odd = {"type": "web_search_result", "content": [{"type": "thinking"}]}
    messages = [*conversation(CALL | {"input": odd}, RESULT), {"role": "user", "content": "And?"}]
    assert (await ask(messages)).status == 200
