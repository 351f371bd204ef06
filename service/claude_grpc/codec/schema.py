"""A message's descriptor and options, read once into the few facts that the encoder and the decoder need.

Holds no plan of its own and touches no message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache
from operator import attrgetter, methodcaller

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from claude_grpc.errors import SchemaError
from claude_grpc.v1 import wire_pb2

__all__ = ["Arm", "FieldSchema", "Kind", "ObjectSchema", "UnionSchema", "family_of", "read_schema", "set_test"]


class Kind(Enum):
    """What a field is in JSON."""

    STRING = auto()
    BYTES = auto()
    BOOL = auto()
    INT = auto()
    DOUBLE = auto()
    ENUM = auto()
    MESSAGE = auto()
    JSON = auto()


_KINDS = {
    FieldDescriptor.TYPE_STRING: Kind.STRING,
    FieldDescriptor.TYPE_BYTES: Kind.BYTES,
    FieldDescriptor.TYPE_BOOL: Kind.BOOL,
    FieldDescriptor.TYPE_INT32: Kind.INT,
    FieldDescriptor.TYPE_INT64: Kind.INT,
    FieldDescriptor.TYPE_DOUBLE: Kind.DOUBLE,
    FieldDescriptor.TYPE_ENUM: Kind.ENUM,
    FieldDescriptor.TYPE_MESSAGE: Kind.MESSAGE,
}

_SHAPES = {
    Kind.STRING: "string",
    Kind.BYTES: "string",
    Kind.ENUM: "string",
    Kind.BOOL: "bool",
    Kind.INT: "number",
    Kind.DOUBLE: "number",
    Kind.MESSAGE: "object",
    Kind.JSON: "object",
}

_DATED = re.compile(r"(.+)_[0-9]{8}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FieldSchema:
    """One field of an object.

    Attributes:
        name: The field's name in the message.
        key: Its key in the JSON object.
        presence: Whether the message can tell unset from zero.
        json_object: Whether a field of kind JSON must be an object.
        spellings: Enum number to JSON string, for kind ENUM.
        unless: Name of the field that makes this one needless where it is set; empty if there is none.
        raw_name: For kind ENUM, the string field that holds the raw spelling; empty if there is none.
        message: Descriptor of the field's message, for kind MESSAGE.
        keyed_by: For a list that is an object in JSON, the messages' field that holds their key; else empty.
    """

    name: str
    key: str
    kind: Kind
    repeated: bool
    presence: bool
    required: bool
    nonempty: bool
    create_only: bool
    json_object: bool
    unless: str = ""
    spellings: dict[int, str] = field(default_factory=dict)
    raw_name: str = ""
    message: Descriptor | None = None
    keyed_by: str = ""


@dataclass(frozen=True, slots=True)
class ObjectSchema:
    """A message that is one JSON object with keys of its own.

    Attributes:
        type: The constant ``type`` of the object, empty if it has none.
        fields: In the order of declaration, which is that of the keys; without the ``extra`` and the ``key`` field.
        extra: Name of the field for all that has no field; empty if the message has none.
        extra_at: How many of ``fields`` come before it.
    """

    descriptor: Descriptor
    type: str
    fields: tuple[FieldSchema, ...]
    extra: str
    extra_at: int


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm of a union.

    Attributes:
        name: Name of its field.
        tag: The ``type`` it stands for and has by default; empty if it must be given.
        family: The arm stands for each ``type`` that is this with a date behind it; empty if for none.
        example: A ``type`` of the family, for those who give none.
        untyped: Whether it stands for objects without a ``type``, too.
    """

    name: str
    tag: str
    family: str
    example: str
    untyped: bool
    message: Descriptor


@dataclass(frozen=True, slots=True)
class UnionSchema:
    """A message that stands for one of several kinds of JSON object, told apart by their ``type``.

    Attributes:
        oneof: Name of the oneof that holds the arms.
        discriminator: Name of the string field beside it that holds the ``type``.
        opaque: Name of the arm that takes any object as JSON.
    """

    descriptor: Descriptor
    oneof: str
    discriminator: str
    arms: tuple[Arm, ...]
    opaque: str


@cache
def read_schema(descriptor: Descriptor) -> ObjectSchema | UnionSchema:
    """The schema of a message.

    Raises:
        SchemaError: The options contradict each other or the descriptor.
    """
    if any(_wire(f).discriminator for f in descriptor.fields):
        return _read_union(descriptor)
    return _read_object(descriptor)


def set_test(field: FieldSchema) -> Callable[[Message], object]:
    """Tells, by something true or not, whether a message has the field set, so that its key is written."""
    if field.presence:
        return methodcaller("HasField", field.name)
    value = attrgetter(field.name)
    if field.raw_name:
        raw = attrgetter(field.raw_name)
        return lambda message: value(message) or raw(message)
    return value


def family_of(type_name: str) -> str:
    """The ``type`` without the date behind it; empty if there is none."""
    match = _DATED.fullmatch(type_name)
    return match.group(1) if match else ""


def _wire(field_descriptor: FieldDescriptor) -> wire_pb2.FieldWire:
    return field_descriptor.GetOptions().Extensions[wire_pb2.wire]  # type: ignore[no-any-return]


def _read_union(descriptor: Descriptor) -> UnionSchema:
    arms: list[Arm] = []
    discriminator = opaque = oneof = ""
    for f in descriptor.fields:
        wire = _wire(f)
        if wire.discriminator:
            discriminator = f.name
        elif f.containing_oneof is None:
            raise SchemaError(f"{f.full_name}: beside its oneof a union has only its discriminator")
        elif wire.opaque:
            opaque, oneof = f.name, f.containing_oneof.name
        else:
            arms.append(_read_arm(f, wire))
    if not opaque:
        raise SchemaError(f"{descriptor.full_name}: a union has an opaque arm")
    _refuse_twins(descriptor, [arm.tag for arm in arms if arm.tag])
    _refuse_twins(descriptor, [arm.family for arm in arms if arm.family])
    return UnionSchema(descriptor, oneof, discriminator, tuple(arms), opaque)


def _read_arm(f: FieldDescriptor, wire: wire_pb2.FieldWire) -> Arm:
    if f.message_type is None or not (wire.tag or wire.family):
        raise SchemaError(f"{f.full_name}: an arm of a union is a message with a tag or a family")
    if not (wire.tag or wire.example):
        raise SchemaError(f"{f.full_name}: an arm without a tag needs an example of its types")
    if any(_key(inner) == "type" for inner in f.message_type.fields) or _constant(f.message_type):
        raise SchemaError(f"{f.full_name}: the `type` of an arm stands in its union")
    return Arm(f.name, wire.tag, wire.family, wire.example, wire.untyped, f.message_type)


def _read_object(descriptor: Descriptor) -> ObjectSchema:
    fields: list[FieldSchema] = []
    extra, extra_at = "", 0
    raw_names = dict(_raw_twins(descriptor))
    for f in descriptor.fields:
        wire = _wire(f)
        if wire.gateway or wire.key or f.name in raw_names.values():
            continue
        if wire.extra:
            extra, extra_at = f.name, len(fields)
        else:
            fields.append(_read_field(f, wire, raw_names.get(f.name, "")))
    for key in {f.key for f in fields}:
        _refuse_twins(descriptor, [_shape(f) for f in fields if f.key == key])
    return ObjectSchema(descriptor, _constant(descriptor), tuple(fields), extra, extra_at)


def _read_field(f: FieldDescriptor, wire: wire_pb2.FieldWire, raw_name: str) -> FieldSchema:
    kind = Kind.JSON if wire.json else _KINDS.get(f.type)
    keyed_by = _key_field(f.message_type)
    if kind is None or (kind is Kind.JSON and f.type != FieldDescriptor.TYPE_STRING):
        raise SchemaError(f"{f.full_name}: no JSON kind for this type of field")
    if f.containing_oneof is not None and not f.has_presence:
        raise SchemaError(f"{f.full_name}: only a union has a oneof")
    if keyed_by and not f.is_repeated:
        raise SchemaError(f"{f.full_name}: objects with a key stand in a list")
    if wire.unless and wire.unless not in f.containing_type.fields_by_name:
        raise SchemaError(f"{f.full_name}: there is no field `{wire.unless}`")
    return FieldSchema(
        name=f.name,
        key=_key(f),
        kind=kind,
        repeated=f.is_repeated,
        presence=f.has_presence,
        required=wire.required,
        nonempty=wire.nonempty,
        create_only=wire.create_only,
        json_object=wire.json == wire_pb2.JSON_KIND_OBJECT,
        unless=wire.unless,
        spellings=_spellings(f) if kind is Kind.ENUM else {},
        raw_name=raw_name,
        message=f.message_type,
        keyed_by=keyed_by,
    )


def _key(f: FieldDescriptor) -> str:
    return _wire(f).name or f.name


def _constant(descriptor: Descriptor) -> str:
    return descriptor.GetOptions().Extensions[wire_pb2.wire_object].type  # type: ignore[no-any-return]


def _key_field(descriptor: Descriptor | None) -> str:
    if descriptor is None:
        return ""
    return next((f.name for f in descriptor.fields if _wire(f).key), "")


def _raw_twins(descriptor: Descriptor) -> Iterator[tuple[str, str]]:
    """Pairs of an enum field and the string field that shares its key."""
    for f in descriptor.fields:
        if f.type == FieldDescriptor.TYPE_ENUM:
            for twin in descriptor.fields:
                if twin.type == FieldDescriptor.TYPE_STRING and _key(twin) == _key(f):
                    yield f.name, twin.name


def _spellings(f: FieldDescriptor) -> dict[int, str]:
    spellings = {
        v.number: v.GetOptions().Extensions[wire_pb2.spelling] for v in f.enum_type.values if v.number
    }
    if not all(spellings.values()):
        raise SchemaError(f"{f.enum_type.full_name}: every value but the zero one needs a spelling")
    return spellings


def _shape(f: FieldSchema) -> str:
    """What tells two fields of one key apart in JSON."""
    if f.repeated and not f.keyed_by:
        return "array"
    if f.kind is Kind.JSON and not f.json_object:
        return "any"
    return _SHAPES[f.kind]


def _refuse_twins(descriptor: Descriptor, values: list[str]) -> None:
    if len(set(values)) != len(values):
        raise SchemaError(
            f"{descriptor.full_name}: two fields cannot be told apart in JSON: {sorted(values)}"
        )
