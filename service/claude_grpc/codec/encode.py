"""Message to JSON bytes: the request's way out.

Each message type is compiled once into a plan, so that a call looks at no descriptor. The same message gives the same
bytes, always: keys in the order of the schema, raw JSON and text as they came. One pass writes and checks, and finds
all that is wrong at once. What upstream decides by its own rules is not checked here, only what the contract cannot
mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from claude_grpc.codec import rawjson
from claude_grpc.codec.newer import note_newer_fields
from claude_grpc.codec.rawjson import Members, Raw
from claude_grpc.codec.schema import Arm, FieldSchema, Kind, ObjectSchema, UnionSchema, family_of, read_schema, set_test
from claude_grpc.codec.times import parse_time
from claude_grpc.codec.values import Pause, Pieces, Writer, quote, scalar_writer
from claude_grpc.codec.violations import Path, Violations

__all__ = ["Encoder"]


class Encoder:
    """Encodes messages of one type.

    Args:
        descriptor: The messages' type.
        counting: Leave out the fields that only creating a message uses.
        pause: Called again and again within a value of over 256 KiB; may let others have their turn.
        reserved: A key that the messages' own extra must not hold, since the gateway sets it.
    """

    def __init__(
        self, descriptor: Descriptor, *, counting: bool = False, pause: Pause = lambda: None, reserved: str = ""
    ) -> None:
        self._pause = pause
        self._plan = _Plans(counting, pause, (descriptor, reserved))[descriptor]

    def encode(self, message: Message, violations: Violations, *, path: str = "", first: bytes = b"") -> bytes:
        """The message as one JSON object; of use only if no violation was found.

        Args:
            message: What to encode; not changed.
            violations: Takes all that is wrong with the message.
            path: Path of the message in the request.
            first: Members to be written before all others, as ``"key":value``.
        """
        place: Path = (None, path) if path else None
        pieces = Pieces()
        self._plan.write(message, pieces, place, violations, first)
        return pieces.join(self._pause)


class _Plan(Protocol):
    def write(self, message: Message, out: Pieces, path: Path, violations: Violations, first: bytes = b"") -> None:
        """Write the message; ``first`` are members to be written before its own."""


class _Plans(dict[Descriptor, _Plan]):
    """The plans of one encoder. A plan is entered before it is compiled, for messages contain each other."""

    def __init__(self, counting: bool, pause: Pause, reserved: tuple[Descriptor, str]) -> None:
        super().__init__()
        self.counting = counting
        self.pause = pause
        self._reserved = reserved

    def __missing__(self, descriptor: Descriptor) -> _Plan:
        schema = read_schema(descriptor)
        plan: _Plan
        if isinstance(schema, UnionSchema):
            plan = _UnionPlan(schema)
        else:
            root, reserved = self._reserved
            plan = _ObjectPlan(schema, reserved if descriptor is root else "")
        self[descriptor] = plan
        plan.compile(self)
        return plan


class _ObjectPlan:
    def __init__(self, schema: ObjectSchema, reserved: str) -> None:
        self._schema = schema
        self._reserved = {reserved} if reserved else set()
        self._extra = schema.extra
        self._constant = _type_member(schema.type) if schema.type else b""
        self._before_extra = self._after_extra = _Members(())

    def compile(self, plans: _Plans) -> None:
        schema = self._schema
        members = [
            (at, _Member(field, schema, _writer(field, plans)))
            for at, field in enumerate(schema.fields)
            if not (plans.counting and field.create_only)
        ]
        self._before_extra = _Members(member for at, member in members if at < schema.extra_at)
        self._after_extra = _Members(member for at, member in members if at >= schema.extra_at)

    def write(self, message: Message, out: Pieces, path: Path, violations: Violations, first: bytes = b"") -> None:
        note_newer_fields(message, path, violations)
        first = first or self._constant
        out.append(b"{" + first)
        start = len(out)
        extra = getattr(message, self._extra).strip() if self._extra else ""
        taken = self._keys_of(extra, first, path, violations) if extra else {}
        self._before_extra.write(message, out, path, violations, taken)
        if taken:
            out.append(b"," + extra[1:-1].encode())
        self._after_extra.write(message, out, path, violations, taken)
        if not first and len(out) > start:
            out[start] = out[start][1:]  # every member brings its comma; the first one has nothing before it
        out.append(b"}")

    def _keys_of(self, extra: str, first: bytes, path: Path, violations: Violations) -> Members:
        try:
            members = rawjson.split_object(extra.encode())
        except (ValueError, RecursionError) as error:
            violations.add((path, self._extra), f"Is not valid JSON: {error}.")
            return {}
        if members is None:
            violations.add((path, self._extra), "Must be a JSON object, not another kind of value.")
            return {}
        set_already = self._reserved | (rawjson.split_object(b"{" + first + b"}") or {}).keys()
        for key in sorted(set_already & members.keys()):
            violations.add((path, self._extra), f"Holds `{key}`, which is set without it; leave it out.")
        return members


class _Member:
    """One field of an object: whether its key is written, and what must be there.

    Fields that share a key keep each other in ``rivals``: one of them may be set, and one is enough where the key is
    required.
    """

    def __init__(self, field: FieldSchema, schema: ObjectSchema, write_value: Writer) -> None:
        same_key = [other for other in schema.fields if other.key == field.key]
        self.name = field.name
        self.presence = field.presence
        self.is_set = set_test(field)
        self._key = field.key
        self._prefix = b"," + quote(field.key) + b":"
        self._write_value = write_value
        self._rivals = {rival.name: set_test(rival) for rival in same_key if rival is not field}
        self._excuses = [
            *self._rivals.values(),
            *(set_test(other) for other in schema.fields if other.name == field.unless),
        ]
        self._or_rivals = "".join(f", or `{name}`" for name in self._rivals)
        self._is_first = same_key[0] is field
        self._writes_zero = field.required and not field.presence and field.kind not in (Kind.ENUM, Kind.JSON)
        self._must_be_set = field.nonempty or (field.required and not self._writes_zero)
        self._is_time = field.kind is Kind.TIME
        self.matters_unset = self._writes_zero or self._must_be_set

    def write(self, message: Message, out: Pieces, path: Path, violations: Violations, taken: Members) -> None:
        """Write the field, which is set."""
        if taken and self._key in taken:
            if self._is_time and _spells(taken[self._key], getattr(message, self.name)):
                return  # the same time, as the API spelled it
            violations.add((path, "extra_json"), f"Holds `{self._key}`, which `{self.name}` sets as well; set it once.")
        if self._rivals and self._is_first:
            for rival, is_set in self._rivals.items():
                if is_set(message):
                    violations.add((path, rival), f"Set this or `{self.name}`, not both.")
        out.append(self._prefix)
        self._write_value(message, out, path, violations)

    def write_unset(self, message: Message, out: Pieces, path: Path, violations: Violations, taken: Members) -> None:
        """Write the field's zero, or note that it is missing."""
        if self._key in taken or any(is_set(message) for is_set in self._excuses):
            return
        if self._must_be_set:
            violations.add((path, self.name), f"Required{self._or_rivals}.")
        if self._writes_zero:
            out.append(self._prefix)
            self._write_value(message, out, path, violations)


class _Members:
    """Fields of an object that are written one after the other."""

    def __init__(self, members: Iterable[_Member]) -> None:
        self._members = tuple(members)

    def write(self, message: Message, out: Pieces, path: Path, violations: Violations, taken: Members) -> None:
        has = message.HasField
        for member in self._members:
            if has(member.name) if member.presence else member.is_set(message):
                member.write(message, out, path, violations, taken)
            elif member.matters_unset:
                member.write_unset(message, out, path, violations, taken)


def _spells(text: Raw, time: Timestamp) -> bool:
    return parse_time(rawjson.read_string(text) or "") == time


class _ArmPlan(NamedTuple):
    """How an arm is written: ``types`` has what its member `type` is, by the one the message gives."""

    arm: Arm
    types: dict[str, bytes]
    plan: _Plan


class _UnionPlan:
    def __init__(self, schema: UnionSchema) -> None:
        self._schema = schema
        self._names = ", ".join([*(arm.name for arm in schema.arms), schema.opaque])
        self._arms: dict[str, _ArmPlan] = {}

    def compile(self, plans: _Plans) -> None:
        for arm in self._schema.arms:
            typed = _type_member(arm.tag)
            types = {"": b"" if arm.untyped else typed, arm.tag: typed} if arm.tag else {}
            self._arms[arm.name] = _ArmPlan(arm, types, plans[arm.message])

    def write(
        self,
        message: Message,
        out: Pieces,
        path: Path,
        violations: Violations,
        first: bytes = b"",  # noqa: ARG002 # nobody has members to put before a union's
    ) -> None:
        note_newer_fields(message, path, violations)
        schema = self._schema
        name = message.WhichOneof(schema.oneof)
        given = getattr(message, schema.discriminator)
        if name is None:
            violations.add((path, schema.oneof), f"Required: set one of {self._names}.")
        elif name == schema.opaque:
            out.append(self._opaque(getattr(message, name), given, path, violations))
        else:
            arm, types, plan = self._arms[name]
            typed = types.get(given)
            if typed is None:
                typed = self._dated(arm, given, path, violations)
            plan.write(getattr(message, name), out, (path, name), violations, typed)

    def _dated(self, arm: Arm, given: str, path: Path, violations: Violations) -> bytes:
        if arm.family and family_of(given) == arm.family:
            return _type_member(given)
        right = f"`{arm.tag}`, or empty," if arm.tag else f"dated, such as `{arm.example}`,"
        violations.add((path, self._schema.discriminator), f"Must be {right} beside `{arm.name}`.")
        return b""

    def _opaque(self, text: str, given: str, path: Path, violations: Violations) -> bytes:
        place = (path, self._schema.opaque)
        raw = text.encode()
        try:
            members = rawjson.split_object(raw)
        except (ValueError, RecursionError) as error:
            violations.add(place, f"Is not valid JSON: {error}.")
            return raw
        if members is None:
            violations.add(place, "Must be a JSON object, not another kind of value.")
        elif given and rawjson.read_string(members.get("type", b"null")) != given:
            violations.add((path, self._schema.discriminator), "Must be the JSON's own `type`, or empty.")
        return raw


def _type_member(tag: str) -> bytes:
    return b'"type":' + quote(tag)


def _writer(field: FieldSchema, plans: _Plans) -> Writer:
    if field.message is None:
        return scalar_writer(field, plans.pause)
    name, plan = field.name, plans[field.message]
    if field.keyed_by:
        return _keyed_writer(name, field.keyed_by, plan)
    if field.repeated:
        return _list_writer(name, plan)

    def write(message: Message, out: Pieces, path: Path, violations: Violations) -> None:
        plan.write(getattr(message, name), out, (path, name), violations)

    return write


def _list_writer(name: str, plan: _Plan) -> Writer:
    def write(message: Message, out: Pieces, path: Path, violations: Violations) -> None:
        place, separator = (path, name), b"["
        for index, element in enumerate(getattr(message, name)):
            out.append(separator)
            plan.write(element, out, (place, index), violations)
            separator = b","
        out.append(b"]" if separator == b"," else b"[]")

    return write


def _keyed_writer(name: str, key_name: str, plan: _Plan) -> Writer:
    """An object whose members are the list's messages."""

    def write(message: Message, out: Pieces, path: Path, violations: Violations) -> None:
        place, separator = (path, name), b"{"
        keys: set[str] = set()
        for index, element in enumerate(getattr(message, name)):
            key = getattr(element, key_name)
            if not key or key in keys:
                problem = f"`{key}` stands here twice." if key else "Required."
                violations.add(((place, index), key_name), problem)
            keys.add(key)
            out.append(separator + quote(key) + b":")
            plan.write(element, out, (place, index), violations)
            separator = b","
        out.append(b"}")

    return write
