"""``wire_map.txt`` tells how each part of the contract is spelled in JSON, so that a change of it is a line in review.

`make golden` writes it anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from claude_grpc.v1 import wire_pb2
from support.schemas import proto_files

FILE = Path(__file__).parent / "wire_map.txt"
UPDATE = os.environ.get("CLAUDE_GRPC_TEST_UPDATE_GOLDEN") == "1"

_TYPES = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "base64",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_DOUBLE: "double",
}
_MARKS = ("required", "nonempty", "unless", "untyped", "create_only", "gateway")


def wire_map() -> list[str]:
    lines: list[str] = []
    for file in proto_files():
        if file.name.endswith("/wire.proto"):
            continue
        for message in file.message_types_by_name.values():
            lines += _of_message(message)
        for enum in file.enum_types_by_name.values():
            lines += _of_enum(enum)
    return sorted(lines)


def _of_message(message: Descriptor) -> Iterator[str]:
    constant = message.GetOptions().Extensions[wire_pb2.wire_object].type
    yield f"{message.name}  {constant and f'type {constant}'}".rstrip()
    for field in message.fields:
        wire = field.GetOptions().Extensions[wire_pb2.wire]
        marks = [mark for mark in _MARKS if getattr(wire, mark)]
        parts = [f"{message.name}.{field.name} = {field.number}", _spelling(field, wire), _kind(field, wire), *marks]
        yield "  ".join(parts)


def _spelling(field: FieldDescriptor, wire: wire_pb2.FieldWire) -> str:
    if wire.tag or wire.family:
        types = [wire.tag, wire.family and f"{wire.family}_DATE"]
        return "type " + " or ".join(filter(None, types))
    if wire.discriminator:
        return "type"
    if wire.extra or wire.opaque or wire.key:
        return {wire.extra: "other keys", wire.opaque: "other types", wire.key: "own key"}[True]
    return wire.name or field.name


def _kind(field: FieldDescriptor, wire: wire_pb2.FieldWire) -> str:
    kind = _TYPES.get(field.type, "")
    if field.message_type is not None:
        kind = field.message_type.name
    elif field.enum_type is not None:
        kind = field.enum_type.name
    if wire.json or wire.extra or wire.opaque:
        kind = "json" if wire.json == wire_pb2.JSON_KIND_ANY else "json object"
    if field.is_repeated:
        keyed = field.message_type and any(
            f.GetOptions().Extensions[wire_pb2.wire].key for f in field.message_type.fields
        )
        return f"{'object' if keyed else 'list'} of {kind}"
    is_optional = field.containing_oneof is not None and field.containing_oneof.name == f"_{field.name}"
    return f"optional {kind}" if is_optional else kind


def _of_enum(enum: EnumDescriptor) -> Iterator[str]:
    for value in enum.values:
        spelling = value.GetOptions().Extensions[wire_pb2.spelling]
        yield f"{enum.name}.{value.name} = {value.number}  {spelling or 'never written'}"


def test_the_wire_map_is_as_written_down() -> None:
    found = wire_map()
    if UPDATE:
        FILE.write_text("\n".join(found) + "\n")
    assert found == FILE.read_text().splitlines(), "the contract has changed: look at it, then `make golden`"
