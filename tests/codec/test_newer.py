"""Fields that only a newer caller knows are refused wherever they stand."""

from __future__ import annotations

from claude_grpc.codec import Violations
from claude_grpc.codec.newer import note_newer_fields, refuse_newer_fields
from claude_grpc.errors import InvalidRequestError
from claude_grpc.v1.messages_pb2 import StreamMessageRequest

NEWER = b"\xfa\x06\x01x"  # field 111, a string


def request() -> StreamMessageRequest:
    message = StreamMessageRequest(betas=["a"])
    message.params.thinking.enabled.budget_tokens = 2000
    message.params.messages.add()
    message.params.messages.add()
    return message


def paths(violations: Violations) -> list[str]:
    try:
        violations.raise_if_any()
    except InvalidRequestError as error:
        return [violation.field for violation in error.violations]
    return []


def test_each_is_found_at_its_path() -> None:
    message = request()
    for part in (message, message.params.messages[1], message.params.thinking.enabled):
        part.MergeFromString(NEWER)
    violations = Violations()
    refuse_newer_fields(message, (None, "of"), violations)
    assert sorted(paths(violations)) == ["of.#111", "of.params.messages[1].#111", "of.params.thinking.enabled.#111"]


def test_without_any_nothing_is_found() -> None:
    violations = Violations()
    refuse_newer_fields(request(), None, violations)
    assert paths(violations) == []


def test_of_a_message_alone_only_its_own_are_found() -> None:
    message = request()
    message.params.MergeFromString(NEWER)
    violations = Violations()
    note_newer_fields(message, None, violations)
    assert paths(violations) == []
    note_newer_fields(message.params, None, violations)
    assert paths(violations) == ["#111"]
