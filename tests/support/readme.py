"""The README's table of what is supported, made from the protos."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor

from claude_grpc.codec.schema import ObjectSchema, UnionSchema, read_schema
from claude_grpc.services import SERVICES
from claude_grpc.v1 import messages_pb2

BEGIN = "<!-- made from the protos by `make golden` -->"
END = "<!-- until here -->"


def supported() -> str:
    """The table, in Markdown."""
    rows = [
        "| | typed |",
        "|---|---|",
        *(f"| {name} | {', '.join(f'`{v}`' for v in values)} |" for name, values in _rows()),
    ]
    return "\n".join(rows)


def _rows() -> Iterator[tuple[str, list[str]]]:
    for service in SERVICES.values():
        yield service.name, [method.name for method in service.methods]
    params = messages_pb2.MessageParams.DESCRIPTOR
    yield "Parameters", _keys(params)
    for title, descriptor in (
        ("Content blocks", _message(params, "system")),
        ("Tools", _message(params, "tools")),
        ("Thinking", _message(params, "thinking")),
        ("Citations", _message(_message(_message(params, "system"), "text"), "citations")),
        ("Stream events", messages_pb2.StreamMessageResponse.DESCRIPTOR),
        ("Deltas", messages_pb2.BlockDelta.DESCRIPTOR),
    ):
        yield title, _types(descriptor)
    yield "Usage", _keys(messages_pb2.AssistantMessage.DESCRIPTOR.fields_by_name["usage"].message_type)


def _message(descriptor: Descriptor, name: str) -> Descriptor:
    found = descriptor.fields_by_name[name].message_type
    assert found is not None
    return found


def _keys(descriptor: Descriptor | None) -> list[str]:
    assert descriptor is not None
    schema = read_schema(descriptor)
    assert isinstance(schema, ObjectSchema)
    return list(dict.fromkeys(field.key for field in schema.fields))


def parity() -> str:
    """How far the types go, held against the official SDK."""
    from support.parity import cover_all, cover_ga

    ga, everything = cover_ga().figures, cover_all().figures
    return (
        f"Of the {ga['total']:,} fields that the official SDK's types have in general availability, "
        f"{ga['typed']:,} are typed here; with all betas {everything['typed']:,} of {everything['total']:,}, "
        f"and {everything['opaque']:,} pass as JSON."
    )


def _types(descriptor: Descriptor) -> list[str]:
    schema = read_schema(descriptor)
    assert isinstance(schema, UnionSchema)
    return [arm.tag or f"{arm.family}_…" for arm in schema.arms]
