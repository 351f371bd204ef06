"""How far the contract's types go: each JSON field of the official SDK's types is looked up in the protos.

A field is typed if the protos have a place of a fitting kind for each shape it may have: free-form JSON counts, what
only an `opaque_json` or `extra_json` would hold does not. Importing this takes some seconds, for it imports the SDK.
"""

from __future__ import annotations

import types
import typing
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto

import typing_extensions
from anthropic.types import (
    Message,
    MessageTokensCount,
    RawMessageStreamEvent,
    message_count_tokens_params,
    message_create_params,
)
from anthropic.types.beta import (
    BetaMessage,
    BetaMessageTokensCount,
    BetaRawMessageStreamEvent,
)
from anthropic.types.beta import message_count_tokens_params as beta_count_tokens_params
from anthropic.types.beta import message_create_params as beta_create_params
from google.protobuf.descriptor import Descriptor
from pydantic import BaseModel

from claude_grpc.codec.schema import Arm, FieldSchema, Kind, ObjectSchema, UnionSchema, family_of, read_schema
from claude_grpc.v1.messages_pb2 import (
    AssistantMessage,
    CountTokensResponse,
    CreateMessageRequest,
    MessageParams,
    StreamMessageResponse,
)

__all__ = ["Coverage", "counted_keys", "cover", "cover_all", "cover_ga", "created_keys"]

_GA_CREATE = message_create_params.MessageCreateParams
_GA_COUNT = message_count_tokens_params.MessageCountTokensParams
_BETA_CREATE = beta_create_params.MessageCreateParams
_BETA_COUNT = beta_count_tokens_params.MessageCountTokensParams
_GA = [
    (_GA_CREATE, MessageParams.DESCRIPTOR),
    (_GA_COUNT, MessageParams.DESCRIPTOR),
    (Message, AssistantMessage.DESCRIPTOR),
    (RawMessageStreamEvent, StreamMessageResponse.DESCRIPTOR),
    (MessageTokensCount, CountTokensResponse.DESCRIPTOR),
]
_BETA = [
    (_BETA_CREATE, MessageParams.DESCRIPTOR),
    (_BETA_COUNT, MessageParams.DESCRIPTOR),
    (BetaMessage, AssistantMessage.DESCRIPTOR),
    (BetaRawMessageStreamEvent, StreamMessageResponse.DESCRIPTOR),
    (BetaMessageTokensCount, CountTokensResponse.DESCRIPTOR),
]
# What the SDK takes as parameters and sends as headers stands beside the params in our requests; `stream` is the RPC.
_BESIDE_PARAMS = {*CreateMessageRequest.DESCRIPTOR.fields_by_name, "stream"}


@dataclass
class Coverage:
    """What was found.

    Attributes:
        fields: All JSON fields, as ``Class.key``.
        gaps: Those that are not typed, each with what is missing.
    """

    fields: set[str] = field(default_factory=set)
    gaps: dict[str, str] = field(default_factory=dict)

    @property
    def figures(self) -> dict[str, int]:
        """How many fields are typed, opaque, and both together."""
        return {"typed": len(self.fields) - len(self.gaps), "opaque": len(self.gaps), "total": len(self.fields)}


def cover_ga() -> Coverage:
    """Look up all fields of the SDK's GA types."""
    return cover(_GA)


def cover_all() -> Coverage:
    """Look up all fields of the SDK's GA and beta types."""
    return cover(_GA + _BETA)


def created_keys() -> set[str]:
    """The body's keys for creating a message."""
    return _keys_of(_GA_CREATE, _BETA_CREATE)


def counted_keys() -> set[str]:
    """The body's keys for counting tokens."""
    return _keys_of(_GA_COUNT, _BETA_COUNT)


def _keys_of(*requests: typing.Any) -> set[str]:
    return {key for request in requests for shape in _shapes(request) for key in _hints(shape.of)} - _BESIDE_PARAMS


def cover(pairs: list[tuple[typing.Any, Descriptor]]) -> Coverage:
    """Look up all fields of types, or unions of types, each in the message that stands for it."""
    walk = _Walk()
    for hint, descriptor in pairs:
        for shape in _shapes(hint):
            walk.object(
                shape.of, descriptor, beside=_BESIDE_PARAMS if descriptor is MessageParams.DESCRIPTOR else set()
            )
    return walk.found


class _Form(Enum):
    STRING = auto()
    NUMBER = auto()
    FRACTION = auto()
    BOOL = auto()
    LIST = auto()
    OBJECT = auto()
    MAP = auto()
    ANY = auto()


_FORMS = {
    Kind.STRING: {_Form.STRING},
    Kind.BYTES: {_Form.STRING},
    Kind.ENUM: {_Form.STRING},
    Kind.INT: {_Form.NUMBER},
    Kind.DOUBLE: {_Form.NUMBER, _Form.FRACTION},
    Kind.BOOL: {_Form.BOOL},
}


@dataclass(frozen=True)
class _Shape:
    """One of the shapes a value may have; ``of`` is a class, an element's type, or the strings that are possible."""

    form: _Form
    of: typing.Any = None


def _hints(cls: type) -> dict[str, typing.Any]:
    if issubclass(cls, BaseModel):
        return {info.alias or name: info.annotation for name, info in cls.model_fields.items()}
    return typing_extensions.get_type_hints(cls, include_extras=True)


def _shapes(hint: typing.Any) -> Iterator[_Shape]:
    """The shapes of a type; null is none, for any field may keep it."""
    origin, arguments = typing_extensions.get_origin(hint), typing_extensions.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for argument in arguments:
            yield from _shapes(argument)
    elif origin in (typing.Annotated, typing_extensions.Required, typing_extensions.NotRequired):
        yield from _shapes(arguments[0])
    elif origin is typing.Literal or origin is typing_extensions.Literal:
        yield _Shape(_Form.BOOL) if isinstance(arguments[0], bool) else _Shape(_Form.STRING, arguments)
    elif origin is not None and issubclass(origin, dict):
        yield _Shape(_Form.MAP, arguments[1])
    elif origin is not None and hasattr(origin, "__iter__"):
        yield _Shape(_Form.LIST, arguments[0])
    else:
        yield from _plain_shape(hint)


def _plain_shape(hint: typing.Any) -> Iterator[_Shape]:
    forms = {str: _Form.STRING, datetime: _Form.STRING, int: _Form.NUMBER, float: _Form.FRACTION, bool: _Form.BOOL}
    if hint in forms:
        yield _Shape(forms[hint])
    elif hint in (object, typing.Any):
        yield _Shape(_Form.ANY)
    elif typing_extensions.is_typeddict(hint) or (isinstance(hint, type) and issubclass(hint, BaseModel)):
        yield _Shape(_Form.OBJECT, hint)
    else:
        # A file where base64 text may stand is the SDK's own convenience.
        assert hint is type(None) or "PathLike" in str(hint) or "IO" in str(hint), hint


def _kind(place: FieldSchema) -> str:
    return ("list of " if place.repeated else "") + place.kind.name.lower()


def _new_in(shape: _Shape, places: list[FieldSchema]) -> str:
    """What of the shape has no place."""
    known = {spelling for place in places for spelling in place.spellings.values()}
    if known and shape.form is _Form.STRING:
        return ", ".join(f"`{name}`" for name in shape.of if name not in known)
    return shape.form.name.lower()


class _Walk:
    def __init__(self) -> None:
        self.found = Coverage()
        self._seen: set[tuple[type, Descriptor]] = set()

    def object(self, cls: type, descriptor: Descriptor, beside: set[str] | frozenset[str] = frozenset()) -> None:
        """Look up the fields of a class in our message."""
        if (cls, descriptor) in self._seen:
            return
        self._seen.add((cls, descriptor))
        schema, typed_by_union = read_schema(descriptor), False
        if isinstance(schema, UnionSchema):
            arm_schema = self._arm_of(cls, schema)
            if arm_schema is None:
                return
            schema, typed_by_union = arm_schema, True
        places: dict[str, list[FieldSchema]] = defaultdict(list)
        for place in schema.fields:
            places[place.key].append(place)
        for key, hint in _hints(cls).items():
            if key in beside:
                continue
            self.found.fields.add(f"{cls.__name__}.{key}")
            if key == "type" and (typed_by_union or self._is_constant(hint, schema)):
                continue
            for shape in _shapes(hint):
                self._look_up(shape, places[key], f"{cls.__name__}.{key}", is_request=not issubclass(cls, BaseModel))

    def _arm_of(self, cls: type, schema: UnionSchema) -> ObjectSchema | None:
        arms: list[Arm | None] = []
        hints = _hints(cls)
        for type_name in [name for shape in _shapes(hints["type"]) for name in shape.of]:
            arm = next((a for a in schema.arms if a.tag == type_name), None)
            arms.append(arm or next((a for a in schema.arms if a.family and a.family == family_of(type_name)), None))
        if None in arms or len(set(arms)) != 1:
            self._miss(cls, f"{schema.descriptor.name} has no arm for it")
            return None
        inner = read_schema(arms[0].message)  # type: ignore[union-attr] # none of them is None
        assert isinstance(inner, ObjectSchema)
        return inner

    def _miss(self, cls: type, why: str) -> None:
        for key in _hints(cls):
            self.found.fields.add(f"{cls.__name__}.{key}")
            self.found.gaps[f"{cls.__name__}.{key}"] = why

    def _is_constant(self, hint: typing.Any, schema: ObjectSchema) -> bool:
        return bool(schema.type) and [shape.of for shape in _shapes(hint)] == [(schema.type,)]

    def _look_up(self, shape: _Shape, places: list[FieldSchema], where: str, *, is_request: bool) -> None:
        if is_request and isinstance(shape.of, type) and issubclass(shape.of, BaseModel):
            return  # the SDK takes its own answers where parameters stand; they are the same JSON
        for place in places:
            if self._fits(shape, place, where, is_request=is_request):
                return
        known = ", ".join(f"{place.name} ({_kind(place)})" for place in places) or "no field"
        self.found.gaps[where] = f"{_new_in(shape, places)} where the protos have {known}"

    def _fits(self, shape: _Shape, place: FieldSchema, where: str, *, is_request: bool) -> bool:
        if place.keyed_by:
            return self._fits_keyed(shape, place, where, is_request=is_request)
        if place.repeated:
            return self._fits_list(shape, place, where, is_request=is_request)
        if place.message is not None:
            return self._fits_message(shape, place.message)
        if place.kind is Kind.JSON:
            return not place.json_object or shape.form in {_Form.OBJECT, _Form.MAP}
        names = set(shape.of or ()) if place.spellings and shape.form is _Form.STRING else set()
        return shape.form in _FORMS[place.kind] and names <= set(place.spellings.values())

    def _fits_message(self, shape: _Shape, message: Descriptor) -> bool:
        if shape.form is _Form.OBJECT:
            self.object(shape.of, message)
            return True
        # A union takes any object, in its opaque arm at least.
        return shape.form is _Form.ANY and isinstance(read_schema(message), UnionSchema)

    def _fits_list(self, shape: _Shape, place: FieldSchema, where: str, *, is_request: bool) -> bool:
        if shape.form is not _Form.LIST:
            return False
        for element in _shapes(shape.of):
            self._look_up(element, [replace(place, repeated=False)], where, is_request=is_request)
        return True

    def _fits_keyed(self, shape: _Shape, place: FieldSchema, where: str, *, is_request: bool) -> bool:
        entry = replace(place, repeated=False, keyed_by="")
        if shape.form is _Form.MAP:
            for element in _shapes(shape.of):
                self._look_up(element, [entry], where, is_request=is_request)
            return True
        if shape.form is not _Form.OBJECT:
            return False
        for key, hint in _hints(shape.of).items():
            inner = f"{shape.of.__name__}.{key}"
            self.found.fields.add(inner)
            for element in _shapes(hint):
                self._look_up(element, [entry], inner, is_request=is_request)
        return True
