"""JSON as the API might send it, known or not, made from the schemas by chance."""

from __future__ import annotations

import json
from random import Random

from google.protobuf.descriptor import Descriptor

from claude_grpc.codec.schema import Arm, FieldSchema, Kind, ObjectSchema, UnionSchema, read_schema

__all__ = ["ANY_JSON", "OBJECTS", "random_json", "random_type"]

NUMBERS = [
    "0",
    "-0",
    "1",
    "7",
    "2147483648",
    "-9223372036854775809",
    "12345678901234567890",
    "1.0",
    "0.1",
    "1e2",
    "1e400",
]
STRINGS = [
    '""',
    '"a"',
    '"é"',
    '"\\u00e9\\/\\n"',
    '"😀"',
    '"\\ud83d"',
    '"\\udc00x"',
    '"end_turn"',
    '"AP8Q"',
    '"AP8"',
    '"ephemeral"',
]
OBJECTS = [
    "{}",
    '{"a":1.0}',
    '{ "z" : "\\u00e9\\ud800" , "a":[ 1e400,null ] }',
    '{"type":"x"}',
    '{"":{},"a":1,"b":{"a":[]}}',
]
ANY_JSON = [
    *NUMBERS,
    *STRINGS,
    *OBJECTS,
    "true",
    "false",
    "null",
    "[]",
    '["a", 5]',
    "[[{}]]",
    '[[{"a":1}], 1.50]',
    # No list of objects: for `messages` it would be turns, without what a request's turns must have.
]
UNKNOWN_KEYS = ["x", "y_new", "é", "type_", "extra_json", ""]
SPACES = ["", "", " ", "\n\t"]


def random_json(descriptor: Descriptor, chance: Random, depth: int = 2) -> str:
    """An object of the message's kind: mostly right, sometimes not, often with more than is known.

    It has at least the keys that the message needs; what is in it need not.
    """
    return _of_message(descriptor, chance, depth, complete=True)


def random_type(arm: Arm, chance: Random) -> str:
    """A ``type`` that the arm stands for."""
    types = [arm.tag] if arm.tag else []
    types += [f"{arm.family}_20250101", f"{arm.family}_20991231"] if arm.family else []
    return chance.choice(types)


def _of_message(descriptor: Descriptor, chance: Random, depth: int, *, complete: bool) -> str:
    schema = read_schema(descriptor)
    if isinstance(schema, ObjectSchema):
        is_right = complete or chance.getrandbits(3) > 0
        types = [json.dumps(schema.type)] if is_right else ['"x"', "null", ""]
        constant = {"type": type_} if schema.type and (type_ := chance.choice(types)) else {}
        return _of_object(schema, chance, depth, constant, complete=complete)
    return _of_union(schema, chance, depth)


def _of_union(schema: UnionSchema, chance: Random, depth: int) -> str:
    arm = chance.choice((*schema.arms, None)) if depth else schema.arms[0]
    if arm is None:
        return chance.choice(OBJECTS)
    inner = read_schema(arm.message)
    assert isinstance(inner, ObjectSchema)
    typed = {} if arm.untyped and chance.random() < 0.5 else {"type": json.dumps(random_type(arm, chance))}
    return _of_object(inner, chance, depth, typed, complete=False)


def _of_object(schema: ObjectSchema, chance: Random, depth: int, members: dict[str, str], *, complete: bool) -> str:
    size = len(schema.fields)
    # Each bit is a field; some objects are full of them, some are not.
    wanted = chance.getrandbits(size) if chance.getrandbits(1) else chance.getrandbits(size) & chance.getrandbits(size)
    needs_all = complete or chance.getrandbits(3) > 0
    for bit, field in enumerate(schema.fields):
        if wanted >> bit & 1 or (needs_all and field.required) or _is_missed(field):
            members[field.key] = _of_field(field, chance, depth)
    for _ in range(chance.choice((0, 0, 1, 2))):
        members[chance.choice(UNKNOWN_KEYS)] = chance.choice(ANY_JSON)
    return _object(members, chance.choice(SPACES))


def _is_missed(field: FieldSchema) -> bool:
    """Whether a request without the field is refused although an answer without it is read."""
    has_no_zero = field.presence or field.kind in (Kind.ENUM, Kind.JSON)
    return (field.required and has_no_zero) or (field.nonempty and not field.required)


def _of_field(field: FieldSchema, chance: Random, depth: int) -> str:
    odd = chance.getrandbits(3) == 7
    if odd or (depth == 0 and field.message is not None):
        return chance.choice(ANY_JSON)
    if field.keyed_by:
        keys = chance.sample(["a", "zoom", "é", ""], chance.choice((0, 1, 2, 3)))
        return _object({key: _of_value(field, chance, depth) for key in keys}, "")
    if field.repeated:
        return "[" + ", ".join(_of_value(field, chance, depth) for _ in range(chance.choice((0, 1, 2)))) + "]"
    return _of_value(field, chance, depth)


def _of_value(field: FieldSchema, chance: Random, depth: int) -> str:
    if field.message is not None:
        return _of_message(field.message, chance, depth - 1, complete=False)
    match field.kind:
        case Kind.INT | Kind.DOUBLE:
            return chance.choice(NUMBERS)
        case Kind.BOOL:
            return chance.choice(("true", "false"))
        case Kind.ENUM:
            return json.dumps(chance.choice((*field.spellings.values(), "x_new")))
        case Kind.JSON:
            return chance.choice(OBJECTS)
        case _:
            return chance.choice(STRINGS)


def _object(members: dict[str, str], space: str) -> str:
    return "{" + ",".join(f"{space}{json.dumps(key)}{space}:{space}{value}" for key, value in members.items()) + "}"
