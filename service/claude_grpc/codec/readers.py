"""How the fields that hold no message are read from JSON: scalars, enums, raw JSON and lists of them.

A field takes only what it would give back exactly; the caller keeps all else as JSON.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

import msgspec
from google.protobuf.message import Message

from claude_grpc.codec import rawjson
from claude_grpc.codec.rawjson import Raw
from claude_grpc.codec.schema import FieldSchema, Kind

__all__ = ["Reader", "first_of", "value_reader"]

Reader = Callable[[Message, Raw], bool]
"""Reads a value into its field of the message. False, and the field as it was, if it cannot hold the value exactly."""

_Scalar = Callable[[Raw], Any]
"""Reads one value; None for one that the field could not give back exactly."""

_float = msgspec.json.Decoder(float)
_DECODERS: dict[Kind, msgspec.json.Decoder[Any]] = {
    Kind.STRING: msgspec.json.Decoder(str),
    Kind.BOOL: msgspec.json.Decoder(bool),
    Kind.INT: msgspec.json.Decoder(int),
}


def value_reader(field: FieldSchema) -> Reader:
    """The reader of a field that is no message."""
    if field.repeated:
        return _list_reader(field)
    if field.raw_name:
        return _raw_enum_reader(field)
    keeps_zero = field.presence or (field.required and not field.nonempty)
    if field.kind in _DECODERS:
        return _plain_reader(field.name, _DECODERS[field.kind], keeps_zero=keeps_zero)
    return _scalar_reader(field.name, _scalar(field), keeps_zero=keeps_zero)


def first_of(readers: list[Reader]) -> Reader:
    """The reader of fields that share a key: the first that can hold the value takes it."""
    if len(readers) == 1:
        return readers[0]
    return lambda message, text: any(read(message, text) for read in readers)


def _plain_reader(name: str, decoder: msgspec.json.Decoder[Any], *, keeps_zero: bool) -> Reader:
    """What almost all values of a stream are, so it is written out."""
    decode = decoder.decode

    def read(message: Message, text: Raw) -> bool:
        try:
            value = decode(text)
            if value or keeps_zero:
                setattr(message, name, value)
                return True
        except (msgspec.DecodeError, ValueError):  # of another kind; an integer beyond the field's range
            return False
        return False

    return read


def _scalar_reader(name: str, scalar: _Scalar, *, keeps_zero: bool) -> Reader:
    def read(message: Message, text: Raw) -> bool:
        value = scalar(text)
        if value is None or not (value or keeps_zero):
            return False
        setattr(message, name, value)
        return True

    return read


def _raw_enum_reader(field: FieldSchema) -> Reader:
    name, raw_name, numbers = field.name, field.raw_name, _numbers(field)

    def read(message: Message, text: Raw) -> bool:
        raw = rawjson.read_string(text)
        if not raw:
            return False
        setattr(message, raw_name, raw)
        setattr(message, name, numbers.get(raw, 0))
        return True

    return read


def _list_reader(field: FieldSchema) -> Reader:
    name, scalar, keeps_empty = field.name, _scalar(field), field.required and not field.nonempty

    def read(message: Message, text: Raw) -> bool:
        elements = rawjson.split_array(text)
        if elements is None or not (elements or keeps_empty):
            return False
        if not elements:
            message.SetInParent()
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


def _scalar(field: FieldSchema) -> _Scalar:
    match field.kind:
        case Kind.STRING | Kind.BOOL | Kind.INT:
            return _plain(_DECODERS[field.kind])
        case Kind.DOUBLE:
            return _double
        case Kind.BYTES:
            return _bytes
        case Kind.ENUM:
            numbers = _numbers(field)
            return lambda text: numbers.get(rawjson.read_string(text) or "")
        case _:
            return _object_text if field.json_object else _json_text


def _plain(decoder: msgspec.json.Decoder[Any]) -> _Scalar:
    def read(text: Raw) -> Any:
        try:
            return decoder.decode(text)
        except msgspec.DecodeError:
            return None

    return read


def _double(text: Raw) -> float | None:
    try:
        value = _float.decode(text)
    except msgspec.DecodeError:
        return None
    # A long integer has more digits than a double.
    return value if b"." in (raw := bytes(text)) or b"e" in raw.lower() or int(raw) == value else None


def _bytes(text: Raw) -> bytes | None:
    encoded = rawjson.read_string(text)
    if encoded is None:
        return None
    try:
        value = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if base64.b64encode(value).decode() == encoded else None


def _numbers(field: FieldSchema) -> dict[str, int]:
    return {spelling: number for number, spelling in field.spellings.items()}


def _json_text(text: Raw) -> str:
    return bytes(text).decode()


def _object_text(text: Raw) -> str | None:
    raw = bytes(text)
    return raw.decode() if raw.startswith(b"{") else None
