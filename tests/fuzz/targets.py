"""What is fed with bytes of whatever kind, and what must hold of each: one function a target.

A target raises for a fault. What may fail fails with the error that its callers know, and is no fault.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from claude_grpc.codec import Decoder, Encoder, Violations
from claude_grpc.errors import InvalidRequestError, UpstreamProtocolError
from claude_grpc.upstream import JSONLDecoder, SSEDecoder
from support.json_values import parse
from support.random_json import random_json
from support.random_messages import random_message
from support.schemas import json_messages

__all__ = ["SEEDS", "TARGETS"]

MESSAGES = json_messages()
_STREAMS = Path(__file__).parents[1] / "golden" / "streams"

_encoder = cache(Encoder)
_decoder = cache(Decoder)


def sse(data: bytes) -> None:
    """Events are the same in whatever pieces they come; the first byte is the size of these."""
    assert _fed(SSEDecoder(), data[1:], len(data) + 1) == _fed(SSEDecoder(), data[1:], data[0] + 1 if data else 1)


def jsonl(data: bytes) -> None:
    """And so are lines."""
    assert _fed(JSONLDecoder(), data[1:], len(data) + 1) == _fed(JSONLDecoder(), data[1:], data[0] + 1 if data else 1)


def json_to_message(data: bytes) -> None:
    """JSON is decoded, or is none; and nothing of it is lost on its way back. The first byte is the message."""
    descriptor, text = _message_of(data)
    try:
        message = _decoder(message_factory.GetMessageClass(descriptor)).decode(text)
    except UpstreamProtocolError:
        return
    body = _encoded(message)
    if body is not None:
        # What is no UTF-8 can only have been a member that came twice, of which the last one counts.
        assert _holds(parse(body), parse(text.decode(errors="replace")))


def message_to_json(data: bytes) -> None:
    """A message is encoded as JSON, or what is wrong with it is said; and is an equal value when it comes back."""
    descriptor, wire = _message_of(data)
    kind = message_factory.GetMessageClass(descriptor)
    try:
        message = kind.FromString(wire)
    except DecodeError:
        return
    body = _encoded(message)
    if body is not None:
        again = _encoded(_decoder(kind).decode(body))
        assert again is not None
        assert parse(again) == parse(body)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (json_to_message, message_to_json, jsonl, sse)
}


def _streams() -> Iterator[bytes]:
    for file in sorted(_STREAMS.glob("*.sse")):
        stream = file.read_bytes()
        yield from (b"\x06" + stream, b"\xff" + stream.replace(b"\n", b"\r\n")[:2000])


def _lines() -> Iterator[bytes]:
    yield b'\x03{"custom_id":"a"}\n\n{"custom_id":"\xc3\xa9"}\r\n{}'


def _json() -> Iterator[bytes]:
    chance = random.Random(1)
    for index, descriptor in enumerate(MESSAGES):
        for _ in range(3):
            yield bytes([index]) + random_json(descriptor, chance).encode()


def _wire() -> Iterator[bytes]:
    chance = random.Random(1)
    for index, descriptor in enumerate(MESSAGES):
        for _ in range(3):
            yield bytes([index]) + random_message(descriptor, chance).SerializeToString(deterministic=True)


SEEDS: Mapping[str, Callable[[], Iterator[bytes]]] = {
    "sse": _streams,
    "jsonl": _lines,
    "json_to_message": _json,
    "message_to_json": _wire,
}
"""Inputs that get far, to begin with."""


def _fed(decoder: SSEDecoder | JSONLDecoder, stream: bytes, size: int) -> tuple[list[object], bool]:
    """What comes out of a stream in pieces of this size, and whether it failed."""
    found: list[object] = []
    try:
        for start in range(0, len(stream), size):
            found += decoder.feed(stream[start : start + size])
        found += decoder.end()
        # It raises what the last piece has left.
        found += decoder.end()
    except UpstreamProtocolError:
        return found, True
    return found, False


def _holds(value: Any, part: Any) -> bool:
    """Whether the value is equal; an object may have what the other lacks, for it may have to."""
    if isinstance(part, dict) and isinstance(value, dict):
        return all(key in value and _holds(value[key], inner) for key, inner in part.items())
    if isinstance(part, list) and isinstance(value, list):
        return len(value) == len(part) and all(map(_holds, value, part))
    # Fields that are doubles hold what any reader would make of their digits.
    return bool(value == part) or _is_same_double(value, part)


def _is_same_double(value: Any, part: Any) -> bool:
    numbers = [number for kind, number in (value, part)] if {type(value), type(part)} == {tuple} else []
    return len({float(number) for number in numbers}) == 1


def _message_of(data: bytes) -> tuple[Descriptor, bytes]:
    return MESSAGES[(data[0] if data else 0) % len(MESSAGES)], data[1:]


def _encoded(message: Message) -> bytes | None:
    violations = Violations()
    body = _encoder(message.DESCRIPTOR).encode(message, violations)
    try:
        violations.raise_if_any()
    except InvalidRequestError:
        return None
    return body
