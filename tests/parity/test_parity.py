"""Whatever the official SDK has a type for, the contract has a field for; what is new there is named here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Required

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from claude_grpc.codec.schema import ObjectSchema, read_schema
from claude_grpc.v1.content_pb2 import ContentBlock
from claude_grpc.v1.messages_pb2 import AssistantMessage, MessageParams
from support.parity import counted_keys, cover, cover_all, cover_ga, created_keys

LIST = Path(__file__).parent / "opaque.txt"
# The SDK has no sampling parameters any more; the API still takes them, by its older version.
SAMPLING = {"temperature", "top_p", "top_k"}


def listed() -> list[str]:
    return [line for line in LIST.read_text().splitlines() if not line.startswith("#")]


def test_every_ga_field_is_typed() -> None:
    assert cover_ga().gaps == {}


def test_every_beta_field_is_typed_or_listed_as_opaque() -> None:
    gaps = cover_all().gaps
    names = {line.split("  — ")[0] for line in listed()}
    assert {name: why for name, why in gaps.items() if name not in names} == {}, "new in the SDK: type it, or list it"
    assert names - gaps.keys() == set(), "typed by now, or gone: take it off the list"


def test_the_list_is_sorted_and_each_line_has_its_reason() -> None:
    assert listed() == sorted(listed())
    assert [line for line in listed() if not line.partition("  — ")[2]] == []


def test_the_figures_add_up() -> None:
    figures = cover_all().figures
    assert figures["typed"] + figures["opaque"] == figures["total"] > cover_ga().figures["total"] > 500


def test_counting_takes_what_the_sdk_sends_to_count_and_no_more() -> None:
    schema = read_schema(MessageParams.DESCRIPTOR)
    assert isinstance(schema, ObjectSchema)
    assert {field.key for field in schema.fields} - SAMPLING == created_keys()
    assert {field.key for field in schema.fields if not field.create_only} == counted_keys()


class NewBlock(TypedDict, total=False):
    type: Required[Literal["new_block"]]
    text: str


class ChangedText(TypedDict, total=False):
    type: Required[Literal["text"]]
    text: Required[str | int]
    new: str
    citations: str


class NewReason(BaseModel):
    type: Literal["message"]
    stop_reason: Literal["end_turn", "new_reason"] | None = None


@pytest.mark.parametrize(
    ("cls", "message", "gaps"),
    [
        (NewBlock, ContentBlock, {f"NewBlock.{key}": "ContentBlock has no arm for it" for key in ("type", "text")}),
        (
            ChangedText,
            ContentBlock,
            {
                "ChangedText.text": "number where the protos have text (string)",
                "ChangedText.new": "string where the protos have no field",
                "ChangedText.citations": "string where the protos have citations (list of message)",
            },
        ),
        (
            NewReason,
            AssistantMessage,
            {"NewReason.stop_reason": "`new_reason` where the protos have stop_reason (enum)"},
        ),
    ],
)
def test_what_is_new_is_named(cls: type, message: type, gaps: dict[str, str]) -> None:
    found = cover([(cls, message.DESCRIPTOR)])
    assert found.gaps == gaps
    assert found.fields >= gaps.keys()
