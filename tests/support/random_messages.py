"""Messages as a caller might make them, valid and by chance, from the descriptors."""

from __future__ import annotations

from random import Random
from typing import Any

from claude_grpc.codec.schema import Arm, FieldSchema, Kind, ObjectSchema, UnionSchema, read_schema
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from support.random_json import ANY_JSON, OBJECTS, random_type

__all__ = ["fill_randomly", "json_texts", "random_message"]

STRINGS = ["a", "", "é😀", 'a"\\\n\x00\u2028', "x" * 300]
BYTES = [b"\x00\xff\x10", b"a", b""]
INTEGERS = [7, 0, -1, 2**31 - 1]
LONGS = [*INTEGERS, 2**53 + 1, -(2**63)]
DOUBLES = [0.5, 0.0, -1.5, 1.0, 1e300]


def random_message(descriptor: Descriptor, chance: Random, depth: int = 2) -> Message:
    """A message that is valid in a request, and that its own JSON gives back."""
    message = message_factory.GetMessageClass(descriptor)()
    fill_randomly(message, chance, depth)
    return message


def json_texts(message: Message) -> list[str]:
    """All JSON texts in the message, which its JSON holds as they are."""
    found: list[str] = []
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                found += json_texts(inner)
        elif field.name == "extra_json":
            found.append(value[1:-1])
        elif field.name.endswith("_json") and field.name != "partial_json":
            found += value if field.is_repeated else [value]
    return found


def fill_randomly(message: Message, chance: Random, depth: int) -> None:
    """Fill an empty message; below depth 0 with no more than it needs."""
    schema = read_schema(message.DESCRIPTOR)
    message.SetInParent()
    if isinstance(schema, UnionSchema):
        _fill_union(schema, message, chance, depth)
    else:
        _fill_object(schema, message, chance, depth)


def _fill_union(schema: UnionSchema, message: Message, chance: Random, depth: int) -> None:
    arm: Arm | None = chance.choice((*schema.arms, None)) if depth > 0 else schema.arms[0]
    if arm is None:
        setattr(message, schema.discriminator, "x_future")
        setattr(message, schema.opaque, '{ "type":"x_future" ,"a":' + chance.choice(ANY_JSON) + "}")
        return
    if not (arm.untyped and chance.getrandbits(1)):
        setattr(message, schema.discriminator, random_type(arm, chance))
    fill_randomly(getattr(message, arm.name), chance, depth)


def _fill_object(schema: ObjectSchema, message: Message, chance: Random, depth: int) -> None:
    wanted = chance.getrandbits(len(schema.fields) + 1)
    taken: set[str] = set()
    for bit, field in enumerate(schema.fields):
        optional = depth > 0 and wanted >> bit & 1
        if field.key not in taken and (optional or field.required or field.nonempty):
            _fill_field(field, message, chance, depth)
            taken.add(field.key)
    if chance.getrandbits(1):
        setattr(message, schema.extra, '{"x_new":' + chance.choice(ANY_JSON) + ',"y":' + chance.choice(ANY_JSON) + "}")


def _fill_field(field: FieldSchema, message: Message, chance: Random, depth: int) -> None:
    if field.repeated:
        _fill_list(field, getattr(message, field.name), chance, depth)
    elif field.message is not None:
        fill_randomly(getattr(message, field.name), chance, depth - 1)
    elif field.raw_name:
        number, raw = chance.choice((*field.spellings.items(), (0, "x_new")))
        setattr(message, field.name, number)
        setattr(message, field.raw_name, raw)
    else:
        setattr(message, field.name, _value(field, message.DESCRIPTOR.fields_by_name[field.name], chance))


def _fill_list(field: FieldSchema, values: Any, chance: Random, depth: int) -> None:
    size = chance.choice((1, 2) if field.nonempty or not field.required else (0, 1, 2))
    for index in range(size):
        if field.message is None:
            values.append(_any_value(field, None, chance))
            continue
        element = values.add()
        fill_randomly(element, chance, depth - 1)
        if field.keyed_by:
            setattr(element, field.keyed_by, chance.choice(("a", "zoom é")) + str(index))


def _value(field: FieldSchema, descriptor: FieldDescriptor, chance: Random) -> Any:
    value = _any_value(field, descriptor, chance)
    if not value and (field.nonempty or not (field.presence or field.required)):
        return _nonzero(field)
    return value


def _nonzero(field: FieldSchema) -> Any:
    return {Kind.STRING: "a", Kind.BYTES: b"a", Kind.BOOL: True, Kind.JSON: "{}"}.get(field.kind, 1)


def _any_value(field: FieldSchema, descriptor: FieldDescriptor | None, chance: Random) -> Any:
    match field.kind:
        case Kind.STRING:
            return chance.choice(STRINGS)
        case Kind.BYTES:
            return chance.choice(BYTES)
        case Kind.BOOL:
            return chance.choice((True, False))
        case Kind.INT:
            is_long = descriptor is not None and descriptor.type == FieldDescriptor.TYPE_INT64
            return chance.choice(LONGS if is_long else INTEGERS)
        case Kind.DOUBLE:
            return chance.choice(DOUBLES)
        case Kind.ENUM:
            return chance.choice(tuple(field.spellings))
        case _:
            return chance.choice(OBJECTS if field.json_object else ANY_JSON)
