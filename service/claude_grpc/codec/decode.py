"""JSON to message: the answer's way back.

Compiled once per message type, like the encoder. Never fails on what the API sends, as long as it is JSON: an unknown key,
a `null`, a value of another kind, a number no field can hold stay in the nearest ``extra`` field or opaque arm, as they were
written. So whatever is decoded is encoded to an equal JSON value again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from claude_grpc.codec import rawjson
from claude_grpc.codec.rawjson import Members, Raw
from claude_grpc.codec.scalars import ScalarReader, scalar_reader
from claude_grpc.codec.schema import FieldSchema, Kind, ObjectSchema, UnionSchema, read_schema
from claude_grpc.codec.times import parse_time, render_time
from claude_grpc.errors import UpstreamProtocolError

__all__ = ["Decoder"]

M = TypeVar("M", bound=Message)

_Reader = Callable[[Message, Raw], bool]
"""Reads the value into its field of the message. False if the field cannot give it back exactly; it is then not set,
or a time that is spelled otherwise than we would."""


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
            self._plan.fill_root(message, members, text)
        except (ValueError, RecursionError) as error:
            raise UpstreamProtocolError("Upstream sent what is not valid JSON.") from error
        return message


class _Plan(Protocol):
    def fill(self, message: Message, members: Members, text: Raw) -> bool:
        """Fill the empty message from the object's members (and its whole text); False if it cannot hold the object."""

    def fill_root(self, message: Message, members: Members, text: Raw) -> None:
        """Fill the message whatever the object is: it has no parent that could keep the rest."""


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
        self._readers: dict[str, _Reader] = {}
        # Without presence, absence of these keys could not be told from zero.
        self._needed = tuple(
            f.key
            for f in schema.fields
            if f.required and not f.presence and f.kind not in (Kind.ENUM, Kind.JSON)
        )

    def compile(self, plans: _Plans) -> None:
        readers: dict[str, list[_Reader]] = {}
        for field in self._schema.fields:
            readers.setdefault(field.key, []).append(_reader(field, plans))
        self._readers = {key: _first_of(choices) for key, choices in readers.items()}

    def fill(self, message: Message, members: Members, text: Raw) -> bool:  # noqa: ARG002 # a union needs the text
        return self._holds(members) and self._fill(message, members)

    def fill_arm(self, message: Message, members: Members) -> bool:
        """Fill the arm of a union, whose ``type`` has been dealt with."""
        return self._holds(members) and self._fill(message, members, skip="type")

    def fill_root(self, message: Message, members: Members, text: Raw) -> None:  # noqa: ARG002 # a union needs it
        self._fill(message, members)

    def _holds(self, members: Members) -> bool:
        return all(key in members for key in self._needed)

    def _fill(self, message: Message, members: Members, skip: str | None = None) -> bool:
        rest: Members = {}
        for key, value in members.items():
            reader = self._readers.get(key)
            if reader is not None:
                if not reader(message, value):
                    rest[key] = value
            elif key != skip:
                rest[key] = value
        constant = self._schema.type
        if constant and rawjson.read_string(rest.pop("type", b"null")) != constant:
            return False
        if rest:
            setattr(message, self._schema.extra, rawjson.join_object(rest))
        return True


class _UnionPlan:
    def __init__(self, schema: UnionSchema) -> None:
        self._schema = schema
        self._arms: dict[str | None, tuple[str, _ObjectPlan]] = {}

    def compile(self, plans: _Plans) -> None:
        for arm in self._schema.arms:
            plan = plans[arm.message]
            assert isinstance(plan, _ObjectPlan)  # noqa: S101 # the schema has seen to it
            self._arms[arm.tag] = (arm.name, plan)
            if arm.untyped:
                self._arms[None] = (arm.name, plan)

    def fill(self, message: Message, members: Members, text: Raw) -> bool:
        self.fill_root(message, members, text)
        return True

    def fill_root(self, message: Message, members: Members, text: Raw) -> None:
        value = members.get("type")
        tag = None if value is None else rawjson.read_string(value) or ""
        arm = self._arms.get(tag)
        if arm is not None:
            name, plan = arm
            target = getattr(message, name)
            target.SetInParent()
            if not plan.fill_arm(target, members):
                arm = None
        if arm is None:
            setattr(message, self._schema.opaque, bytes(text).decode())
        if tag:
            setattr(message, self._schema.discriminator, tag)


def _first_of(readers: list[_Reader]) -> _Reader:
    """Fields that share a key: the first that can hold the value takes it."""
    if len(readers) == 1:
        return readers[0]
    return lambda message, value: any(reader(message, value) for reader in readers)


def _reader(field: FieldSchema, plans: _Plans) -> _Reader:
    if field.kind is Kind.TIME:
        return _time_reader(field.name)
    if field.message is not None:
        plan = plans[field.message]
        if field.repeated:
            return _message_list_reader(field.name, plan, keeps_empty=field.required)
        return _message_reader(field.name, plan)
    scalar = scalar_reader(field)
    if field.repeated:
        return _list_reader(field, scalar)
    if field.raw_name:
        return _raw_enum_reader(field, scalar)
    name, keeps_zero = field.name, field.presence or field.required

    def read(message: Message, text: Raw) -> bool:
        value = scalar(text)
        if value is None or not (value or keeps_zero):
            return False
        return _assign(message, name, value)

    return read


def _assign(message: Message, name: str, value: object) -> bool:
    try:
        setattr(message, name, value)
    except ValueError:  # an integer beyond the field's range
        return False
    return True


def _raw_enum_reader(field: FieldSchema, scalar: ScalarReader) -> _Reader:
    name, raw_name = field.name, field.raw_name

    def read(message: Message, text: Raw) -> bool:
        raw = rawjson.read_string(text)
        if not raw:
            return False
        setattr(message, raw_name, raw)
        setattr(message, name, scalar(text) or 0)
        return True

    return read


def _time_reader(name: str) -> _Reader:
    """A time goes into its field however it is spelled; if otherwise than we would, ``extra`` keeps it, too."""

    def read(message: Message, text: Raw) -> bool:
        spelled = rawjson.read_string(text)
        time = None if spelled is None else parse_time(spelled)
        if time is None:
            return False
        getattr(message, name).CopyFrom(time)
        return render_time(time) == spelled

    return read


def _list_reader(field: FieldSchema, scalar: ScalarReader) -> _Reader:
    name, keeps_empty = field.name, field.required

    def read(message: Message, text: Raw) -> bool:
        elements = rawjson.split_array(text)
        if elements is None or not (elements or keeps_empty):
            return False
        values = [scalar(element) for element in elements]
        if any(value is None for value in values):
            return False
        try:
            getattr(message, name).extend(values)
        except ValueError:  # an integer beyond the field's range
            message.ClearField(name)
            return False
        return True

    return read


def _message_reader(name: str, plan: _Plan) -> _Reader:
    def read(message: Message, text: Raw) -> bool:
        members = rawjson.split_object(text)
        if members is None:
            return False
        target = getattr(message, name)
        target.SetInParent()
        if not plan.fill(target, members, text):
            message.ClearField(name)
            return False
        return True

    return read


def _message_list_reader(name: str, plan: _Plan, *, keeps_empty: bool) -> _Reader:
    def read(message: Message, text: Raw) -> bool:
        elements = rawjson.split_array(text)
        if elements is None or not (elements or keeps_empty):
            return False
        targets = getattr(message, name)
        for element in elements:
            members = rawjson.split_object(element)
            if members is None or not plan.fill(targets.add(), members, element):
                message.ClearField(name)
                return False
        return True

    return read
