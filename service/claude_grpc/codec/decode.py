"""JSON to message: the answer's way back.

Compiled once per message type, like the encoder. Never fails on what the API sends, as long as it is JSON: an unknown
key, a `null`, a value of another kind, a number no field can hold stay in the nearest ``extra`` field or opaque arm, as
they were written. So whatever is decoded is encoded to an equal JSON value again.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from claude_grpc.codec import rawjson
from claude_grpc.codec.rawjson import Members, Raw
from claude_grpc.codec.readers import Reader, first_of, value_reader
from claude_grpc.codec.schema import FieldSchema, Kind, ObjectSchema, UnionSchema, family_of, read_schema
from claude_grpc.errors import UpstreamProtocolError

__all__ = ["Decoder"]

M = TypeVar("M", bound=Message)


class Decoder(Generic[M]):
    """Decodes JSON objects into messages of one type."""

    def __init__(self, message_type: type[M]) -> None:
        self._type = message_type
        self._plan = _Plans()[message_type.DESCRIPTOR]

    def decode(self, text: bytes) -> M:
        """The JSON object as a message.

        Raises:
            UpstreamProtocolError: The text is not a JSON object.
        """
        message = self._type()
        try:
            members = rawjson.split_object(text)
            if members is None:
                raise UpstreamProtocolError("Upstream sent JSON that is not an object.")
            self._plan.fill(message, members, text, is_root=True)
        except (ValueError, RecursionError) as error:
            raise UpstreamProtocolError("Upstream sent what is not valid JSON.") from error
        return message


class _Plan(Protocol):
    def fill(self, message: Message, members: Members, text: Raw, *, is_root: bool = False) -> bool:
        """Fill the empty message from the object's members, which are consumed, and its whole text.

        False if the message cannot hold the object; a root holds any, for it has no parent that could keep the rest.
        """


class _Plans(dict[Descriptor, _Plan]):
    """The plans of one decoder. A plan is entered before it is compiled, for messages contain each other."""

    def __missing__(self, descriptor: Descriptor) -> _Plan:
        schema = read_schema(descriptor)
        plan = _UnionPlan(schema) if isinstance(schema, UnionSchema) else _ObjectPlan(schema)
        self[descriptor] = plan
        plan.compile(self)
        return plan


class _ObjectPlan:
    def __init__(self, schema: ObjectSchema) -> None:
        self._schema = schema
        self._extra = schema.extra
        self._constant = schema.type
        self._readers: dict[str, Reader] = {}
        # Without presence, absence of these keys could not be told from zero.
        self._needed = tuple(
            field.key
            for field in schema.fields
            if field.required and not field.presence and field.kind not in (Kind.ENUM, Kind.JSON)
        )

    def compile(self, plans: _Plans) -> None:
        readers: dict[str, list[Reader]] = {}
        for field in self._schema.fields:
            readers.setdefault(field.key, []).append(_reader(field, plans))
        self._readers = {key: first_of(choices) for key, choices in readers.items()}

    def fill(self, message: Message, members: Members, text: Raw, *, is_root: bool = False) -> bool:  # noqa: ARG002
        if self._constant and not self._takes_type(members) and not is_root:
            return False
        for key in self._needed:
            if key not in members and not is_root:
                return False
        if not members:
            message.SetInParent()  # what is set in a message does that by itself
        readers = self._readers
        rest: Members | None = None
        for key, value in members.items():
            reader = readers.get(key)
            if reader is None or not reader(message, value):
                if rest is None:
                    rest = {}
                rest[key] = value
        if rest is not None:
            setattr(message, self._extra, rawjson.join_object(rest))
        return True

    def _takes_type(self, members: Members) -> bool:
        """Whether the object has the constant ``type``, which is then taken out."""
        if rawjson.read_string(members.get("type", b"null")) != self._constant:
            return False
        del members["type"]
        return True


class _UnionPlan:
    def __init__(self, schema: UnionSchema) -> None:
        self._discriminator = schema.discriminator
        self._opaque = schema.opaque
        self._schema = schema
        self._arms: dict[str, tuple[str, _Plan]] = {}
        self._families: dict[str, tuple[str, _Plan]] = {}
        self._untyped: tuple[str, _Plan] | None = None

    def compile(self, plans: _Plans) -> None:
        for arm in self._schema.arms:
            target = (arm.name, plans[arm.message])
            if arm.tag:
                self._arms[arm.tag] = target
            if arm.family:
                self._families[arm.family] = target
            if arm.untyped:
                self._untyped = target

    def fill(self, message: Message, members: Members, text: Raw, *, is_root: bool = False) -> bool:  # noqa: ARG002
        value = members.pop("type", None)
        if value is None:
            arm = self._untyped
        elif tag := rawjson.read_string(value):
            setattr(message, self._discriminator, tag)
            arm = self._arms.get(tag) or self._families.get(family_of(tag))
        else:
            arm = None
        if arm is None or not arm[1].fill(getattr(message, arm[0]), members, text):
            setattr(message, self._opaque, bytes(text).decode())
        return True


def _reader(field: FieldSchema, plans: _Plans) -> Reader:
    if field.message is None:
        return value_reader(field)
    plan = plans[field.message]
    if field.keyed_by:
        return _keyed_reader(field.name, field.keyed_by, plan)
    if field.repeated:
        return _message_list_reader(field.name, plan, keeps_empty=field.required and not field.nonempty)
    return _message_reader(field.name, plan)


def _message_reader(name: str, plan: _Plan) -> Reader:
    def read(message: Message, text: Raw) -> bool:
        members = rawjson.split_object(text)
        if members is None:
            return False
        if plan.fill(getattr(message, name), members, text):
            return True
        message.ClearField(name)
        return False

    return read


def _message_list_reader(name: str, plan: _Plan, *, keeps_empty: bool) -> Reader:
    def read(message: Message, text: Raw) -> bool:
        elements = rawjson.split_array(text)
        if elements is None or not (elements or keeps_empty):
            return False
        if not elements:
            message.SetInParent()
        targets = getattr(message, name)
        for element in elements:
            members = rawjson.split_object(element)
            if members is None or not plan.fill(targets.add(), members, element):
                message.ClearField(name)
                return False
        return True

    return read


def _keyed_reader(name: str, key_name: str, plan: _Plan) -> Reader:
    """An object whose members are the list's messages."""

    def read(message: Message, text: Raw) -> bool:
        entries = rawjson.split_object(text)
        if not entries:
            return False
        targets = getattr(message, name)
        for key, element in entries.items():
            members = rawjson.split_object(element)
            target = targets.add()
            if not key or members is None or not plan.fill(target, members, element):
                message.ClearField(name)
                return False
            setattr(target, key_name, key)
        return True

    return read
