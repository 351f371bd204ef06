"""How single values are written as JSON: scalars, enums, raw JSON and lists of them.

A writer takes the message that holds the value, not the value, so that the plan that calls it need not know its kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from io import BytesIO
from typing import Any

import msgspec
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from claude_grpc.codec import rawjson
from claude_grpc.codec.schema import FieldSchema, Kind
from claude_grpc.codec.times import render_time
from claude_grpc.codec.violations import Path, Violations

__all__ = ["Pause", "Pieces", "Writer", "quote", "scalar_writer"]

Pause = Callable[[], None]
"""Called between the slices of a large value."""

# So much base64 takes a third of a millisecond. A multiple of three, so that slices need no padding between them.
_SLICE = 3 * 87_381


class Pieces(list[bytes]):
    """JSON text in pieces, to be joined once at the end; ``is_large`` says whether a large value is among them."""

    is_large = False

    def join(self, pause: Pause) -> bytes:
        """The whole text. The pieces are given up."""
        if not self.is_large:
            return b"".join(self)
        # Not in one go: new memory costs more than the copying.
        whole = BytesIO()
        self.reverse()
        while self:
            piece = self.pop()
            whole.write(piece)
            if len(piece) >= _SLICE:
                pause()
        return whole.getvalue()


Writer = Callable[[Message, Pieces, Path, Violations], None]
"""Writes the value of one field of the message; the path is the message's."""

_Scalar = Callable[[Any, Path, Violations], bytes]

# Text goes out as UTF-8 with the escapes that JSON demands and no more; bytes go out as base64.
_encode = msgspec.json.Encoder().encode


def quote(text: str) -> bytes:
    """The text as a JSON string."""
    return _encode(text)


def scalar_writer(field: FieldSchema, pause: Pause) -> Writer:
    """The writer of a field that is no message."""
    name, scalar = field.name, _scalar(field)
    if field.repeated:
        return _list_writer(name, scalar)
    if field.raw_name:
        return _enum_writer(field, scalar)
    if field.kind in (Kind.STRING, Kind.BYTES):
        return _text_writer(name, pause)
    if field.kind in (Kind.BOOL, Kind.INT):
        return _plain_writer(name)

    def write(message: Message, out: Pieces, path: Path, violations: Violations) -> None:
        out.append(scalar(getattr(message, name), (path, name), violations))

    return write


def _text_writer(name: str, pause: Pause) -> Writer:
    """What almost all values are, and all large ones."""

    def write(message: Message, out: Pieces, path: Path, violations: Violations) -> None:  # noqa: ARG001
        value = getattr(message, name)
        if len(value) <= _SLICE:
            out.append(_encode(value))
        else:
            _write_sliced(value, out, pause)

    return write


def _write_sliced(value: str | bytes, out: Pieces, pause: Pause) -> None:
    whole = memoryview(value) if isinstance(value, bytes) else value
    out.is_large = True
    out.append(b'"')
    for start in range(0, len(whole), _SLICE):
        out.append(_encode(whole[start : start + _SLICE])[1:-1])
        pause()
    out.append(b'"')


def _plain_writer(name: str) -> Writer:
    """What cannot be wrong."""

    def write(message: Message, out: Pieces, path: Path, violations: Violations) -> None:  # noqa: ARG001
        out.append(_encode(getattr(message, name)))

    return write


def _list_writer(name: str, scalar: _Scalar) -> Writer:
    def write(message: Message, out: Pieces, path: Path, violations: Violations) -> None:
        place = (path, name)
        values = (scalar(value, (place, i), violations) for i, value in enumerate(getattr(message, name)))
        out.append(b"[" + b",".join(values) + b"]")

    return write


def _enum_writer(field: FieldSchema, scalar: _Scalar) -> Writer:
    """The raw spelling wins, for it can say what the enum cannot; the two must not contradict each other."""
    name, raw_name = field.name, field.raw_name

    def write(message: Message, out: Pieces, path: Path, violations: Violations) -> None:
        value, raw = getattr(message, name), getattr(message, raw_name)
        if raw and value and field.spellings.get(value) != raw:
            violations.add((path, raw_name), f"Contradicts `{name}`; set one of them.")
        out.append(quote(raw) if raw else scalar(value, (path, name), violations))

    return write


def _scalar(field: FieldSchema) -> _Scalar:
    match field.kind:
        case Kind.JSON:
            return _object_text if field.json_object else _json_text
        case Kind.ENUM:
            return _enum(field.spellings)
        case Kind.DOUBLE:
            return _number
        case Kind.TIME:
            return _time
        case _:
            return lambda value, _path, _violations: _encode(value)


def _enum(spellings: dict[int, str]) -> _Scalar:
    texts = {number: quote(spelling) for number, spelling in spellings.items()}

    def write(value: int, path: Path, violations: Violations) -> bytes:
        text = texts.get(value)
        if text is None:
            violations.add(path, f"Value {value} is not known; use one of {', '.join(spellings.values())}.")
            return b"null"
        return text

    return write


def _number(value: float, path: Path, violations: Violations) -> bytes:
    if not math.isfinite(value):
        violations.add(path, "Must be a finite number; JSON has no other.")
    return _encode(value)


def _time(value: Timestamp, path: Path, violations: Violations) -> bytes:
    try:
        return quote(render_time(value))
    except ValueError:
        violations.add(path, "Must be a time of the years 1 to 9999.")
        return b"null"


def _object_text(value: str, path: Path, violations: Violations) -> bytes:
    return _checked(value, path, violations, must_be_object=True)


def _json_text(value: str, path: Path, violations: Violations) -> bytes:
    return _checked(value, path, violations, must_be_object=False)


def _checked(value: str, path: Path, violations: Violations, *, must_be_object: bool) -> bytes:
    """JSON text as it came, once it is known to be JSON."""
    text = value.encode()
    try:
        is_object = rawjson.is_object(text)
    except (ValueError, RecursionError) as error:
        violations.add(path, f"Is not valid JSON: {error}.")
    else:
        if must_be_object and not is_object:
            violations.add(path, "Must be a JSON object, not another kind of value.")
    return text
