"""How single JSON values are read: None stands for a value that the field could not give back exactly."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

import msgspec

from claude_grpc.codec import rawjson
from claude_grpc.codec.rawjson import Raw
from claude_grpc.codec.schema import FieldSchema, Kind

__all__ = ["ScalarReader", "scalar_reader"]

ScalarReader = Callable[[Raw], Any]

_bool = msgspec.json.Decoder(bool)
_int = msgspec.json.Decoder(int)
_float = msgspec.json.Decoder(float)


def scalar_reader(field: FieldSchema) -> ScalarReader:
    """The reader for one value of the field."""
    match field.kind:
        case Kind.STRING:
            return rawjson.read_string
        case Kind.BOOL:
            return _typed(_bool)
        case Kind.INT:
            return _typed(_int)
        case Kind.DOUBLE:
            return _double
        case Kind.BYTES:
            return _bytes
        case Kind.ENUM:
            return _enum(field.spellings)
        case _:
            return _object_text if field.json_object else _json_text


def _typed(decoder: msgspec.json.Decoder[Any]) -> ScalarReader:
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


def _enum(spellings: dict[int, str]) -> ScalarReader:
    numbers = {spelling: number for number, spelling in spellings.items()}
    return lambda text: numbers.get(rawjson.read_string(text) or "")


def _json_text(text: Raw) -> str:
    return bytes(text).decode()


def _object_text(text: Raw) -> str | None:
    raw = bytes(text)
    return raw.decode() if raw.startswith(b"{") else None
