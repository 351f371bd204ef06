"""Strategies for JSON as the API might send it, known or not, made from the schemas; and equality of JSON values."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor
from hypothesis import strategies as st

from claude_grpc.codec.schema import FieldSchema, Kind, ObjectSchema, UnionSchema, read_schema


def parse(text: str | bytes) -> Any:
    """JSON as values in which equal means equal: numbers exact, true apart from 1."""
    number = lambda token: ("number", Fraction(Decimal(token)))  # noqa: E731 # used twice on the next line
    return json.loads(text, parse_int=number, parse_float=number)


NUMBERS = st.sampled_from(
    [
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
        "-1.5E-7",
    ]
)
STRINGS = st.one_of(
    st.text(max_size=8).map(json.dumps),
    st.text(max_size=8).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(
        ['"\\ud800"', '"\\udc00x"', '"\\/"', '""', '"end_turn"', '"user"', '"AP8Q"', '"AP8"', '"ephemeral"']
    ),
)
TIMES = st.sampled_from(
    [
        '"2026-10-21T08:00:00Z"',
        '"2026-10-21T08:00:00.100000Z"',
        '"2026-10-21T08:00:00.123456789Z"',
        '"2026-10-21T08:00:00.1Z"',
        '"2026-10-21T08:00:00.1234567890Z"',
        '"2026-10-21t08:00:00+02:00"',
        '"0001-01-01T00:00:00+23:59"',
        '"2016-12-31T23:59:60Z"',
        '"2026-10-21"',
    ]
)
SCALARS = st.one_of(NUMBERS, STRINGS, st.sampled_from(["true", "false", "null"]))
SPACES = st.sampled_from(["", "", "", " ", "\n\t"])


def _join(opening: str, closing: str) -> Any:
    return lambda parts: opening + ",".join(parts) + closing


def _object(members: dict[str, str], space: str) -> str:
    return "{" + ",".join(f"{space}{json.dumps(key)}{space}:{space}{value}" for key, value in members.items()) + "}"


ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(_join("[", "]")),
        st.builds(_object, st.dictionaries(st.text(max_size=4), inner, max_size=3), SPACES),
    ),
    max_leaves=6,
)


OBJECT_JSON = st.builds(_object, st.dictionaries(st.text("abc", max_size=2), ANY_JSON, max_size=3), SPACES)


@cache
def of_message(descriptor: Descriptor, depth: int = 2) -> st.SearchStrategy[str]:
    """JSON objects of the message's kind: mostly right, sometimes not, often with more than is known."""
    schema = read_schema(descriptor)
    if isinstance(schema, UnionSchema):
        return _of_union(schema, depth)
    return _of_object(schema, depth, {"type": json.dumps(schema.type)} if schema.type else {})


def _of_union(schema: UnionSchema, depth: int) -> st.SearchStrategy[str]:
    arms = []
    for arm in schema.arms:
        inner = read_schema(arm.message)
        assert isinstance(inner, ObjectSchema)
        arms.append(_of_object(inner, depth, {"type": json.dumps(arm.tag)}))
    return st.one_of(*arms, OBJECT_JSON)


def _of_object(schema: ObjectSchema, depth: int, constants: dict[str, str]) -> st.SearchStrategy[str]:
    known: dict[str, st.SearchStrategy[str]] = {}
    for field in schema.fields:
        value = _of_field(field, depth)
        known[field.key] = st.one_of(known[field.key], value) if field.key in known else value
    required = {f.key: known[f.key] for f in schema.fields if f.required}
    optional = {key: value for key, value in known.items() if key not in required}
    members = st.fixed_dictionaries(required, optional=optional)
    unknown = st.dictionaries(st.sampled_from(["x", "y_new", "é"]), ANY_JSON, max_size=2)

    def build(found: dict[str, str], more: dict[str, str], space: str) -> str:
        return _object({**constants, **found, **more}, space)

    return st.builds(build, members, unknown, SPACES)


def _of_field(field: FieldSchema, depth: int) -> st.SearchStrategy[str]:
    if depth == 0 and field.message is not None:
        return ANY_JSON
    value = of_message(field.message, depth - 1) if field.message is not None else _of_kind(field)
    if field.repeated:
        value = st.lists(value, max_size=2).map(_join("[", "]"))
    return st.one_of(value, value, value, ANY_JSON)


def _of_kind(field: FieldSchema) -> st.SearchStrategy[str]:
    match field.kind:
        case Kind.INT | Kind.DOUBLE:
            return NUMBERS
        case Kind.BOOL:
            return st.sampled_from(["true", "false"])
        case Kind.ENUM:
            return st.sampled_from([json.dumps(s) for s in field.spellings.values()] + ['"x_new"'])
        case Kind.TIME:
            return TIMES
        case Kind.JSON:
            return OBJECT_JSON
        case _:
            return STRINGS
