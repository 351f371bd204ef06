"""JSON to message, the fast way: for objects that hold nothing but strings, integers, booleans and more such objects.

That is what almost all events of a stream are. Such a text is parsed in one go, by a typed parser, where ``decode``
goes level by level; whatever does not fit exactly is left to that. Both come to the same message.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from claude_grpc.codec.schema import FieldSchema, Kind, ObjectSchema, UnionSchema, descriptor_of, read_schema

__all__ = ["PlainReader"]

M = TypeVar("M", bound=Message)

_TYPES: dict[Kind, type] = {Kind.STRING: str, Kind.INT: int, Kind.BOOL: bool}
_DEPTH = 4
"""How many messages may stand in each other: an event, its arm, the piece of a block in that, its arm."""


class PlainReader(Generic[M]):
    """Reads the plain ones among the JSON objects of one type of message."""

    def __init__(self, message_type: type[M]) -> None:
        self._type = message_type
        shape = _compile(descriptor_of(message_type), "", _DEPTH)
        self._fill = shape.fill if shape else None
        self._parse = msgspec.json.Decoder(shape.parsed if shape else None).decode

    def read(self, text: bytes) -> M | None:
        """The object as a message; None if it is not plain."""
        if self._fill is None:
            return None
        message = self._type()
        try:
            self._fill(message, self._parse(text))
        except (msgspec.DecodeError, ValueError, RecursionError):  # not plain; or an integer beyond its field's range
            return None
        return message


_Fill = Callable[[Message, Any], None]


class _Shape(NamedTuple):
    """What a plain value is parsed into, and how that fills an empty message; without `fill` it is set as it is."""

    parsed: Any
    fill: _Fill | None


def _compile(descriptor: Descriptor, tag: str, depth: int) -> _Shape | None:
    if depth == 0:
        return None
    schema = read_schema(descriptor)
    return _union(schema, depth) if isinstance(schema, UnionSchema) else _object(schema, tag, depth)


def _union(schema: UnionSchema, depth: int) -> _Shape | None:
    arms: dict[type, tuple[str, str, _Fill]] = {}
    for arm in schema.arms:
        shape = _compile(arm.message, arm.tag, depth - 1) if arm.tag else None
        if shape is not None and shape.fill is not None:
            arms[shape.parsed] = (arm.name, arm.tag, shape.fill)
    discriminator = schema.discriminator

    def fill(message: Message, value: Any) -> None:
        name, tag, fill_arm = arms[type(value)]
        setattr(message, discriminator, tag)
        fill_arm(getattr(message, name), value)

    # Of a single struct the parser does not demand the type.
    return _Shape(reduce(or_, arms), fill) if len(arms) > 1 else None


def _object(schema: ObjectSchema, tag: str, depth: int) -> _Shape | None:
    if schema.type:
        return None
    members: list[tuple[FieldSchema, _Shape]] = []
    for field in schema.fields:
        shape = _member(field, depth)
        if shape is not None:
            members.append((field, shape))
        elif field.required:
            return None
    may_be_empty = not any(field.required for field, _ in members)
    fills = [(field.name, shape.fill) for field, shape in members]

    def fill(message: Message, value: Any) -> None:
        if may_be_empty:
            message.SetInParent()
        for name, fill_member in fills:
            member = getattr(value, name)
            if member is msgspec.UNSET:
                continue
            if fill_member is None:
                setattr(message, name, member)
            else:
                fill_member(getattr(message, name), member)

    return _Shape(_struct(schema, members, tag), fill)


def _struct(schema: ObjectSchema, members: list[tuple[FieldSchema, _Shape]], tag: str) -> type[msgspec.Struct]:
    needed = [(field.name, shape.parsed) for field, shape in members if field.required]
    others = [
        (field.name, shape.parsed | msgspec.UnsetType, msgspec.UNSET) for field, shape in members if not field.required
    ]
    return msgspec.defstruct(
        schema.descriptor.name,
        [*needed, *others],
        tag_field="type" if tag else None,
        tag=tag or None,
        rename={field.name: field.key for field, _ in members},
        forbid_unknown_fields=True,
    )


def _member(field: FieldSchema, depth: int) -> _Shape | None:
    if field.repeated or field.raw_name or field.nonempty or not (field.presence or field.required):
        return None
    if field.message is not None:
        return _compile(field.message, "", depth - 1)
    parsed = _TYPES.get(field.kind)
    return _Shape(parsed, None) if parsed else None
