"""JSON text taken apart one level at a time, each value kept as the bytes it was written in.

Nothing here builds Python objects of values: numbers keep their digits, strings their escapes, objects their order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import msgspec

__all__ = ["Members", "Raw", "is_null", "is_object", "join_object", "read_string", "split_array", "split_object"]

Raw = msgspec.Raw | bytes
"""The bytes of one JSON value, as they stood in the text."""

Members = dict[str, Raw]
"""An object's members in order. Of keys that repeat, the last one counts, as in every JSON parser."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_string = msgspec.json.Decoder(str)
_any = msgspec.json.Decoder(msgspec.Raw)
_encode = msgspec.json.Encoder().encode


def is_object(text: bytes) -> bool:
    """Whether the text is an object, and not JSON of another kind.

    Raises:
        ValueError: The text is not JSON.
    """
    try:
        _any.decode(text)
    except msgspec.DecodeError:
        _Splitter(text).split()
    return text.lstrip(b" \t\n\r").startswith(b"{")


def split_object(text: Raw) -> Members | None:
    """Members of the object, or None if the text is none, be it JSON or not.

    Raises:
        ValueError: The text begins as an object and is not JSON.
    """
    try:
        return _members.decode(text)  # type: ignore[return-value] # dict is invariant; the values are msgspec.Raw
    except msgspec.ValidationError:
        return None
    except msgspec.DecodeError:
        members, _ = _Splitter(text).split()
        return members


def split_array(text: Raw) -> list[Raw] | None:
    """Elements of the array, or None if the text is none, be it JSON or not.

    Raises:
        ValueError: The text begins as an array and is not JSON.
    """
    try:
        return _elements.decode(text)  # type: ignore[return-value] # list is invariant; the values are msgspec.Raw
    except msgspec.ValidationError:
        return None
    except msgspec.DecodeError:
        _, elements = _Splitter(text).split()
        return elements


def read_string(text: Raw) -> str | None:
    """The string, or None if the text is of another kind or no Unicode string can hold it (a lone surrogate)."""
    try:
        return _string.decode(text)
    except msgspec.DecodeError:
        return None


def is_null(text: Raw) -> bool:
    """Whether the value is ``null``."""
    return bytes(text) == b"null"


def join_object(members: Members) -> str:
    """The object's text, compact but for what the values themselves hold; empty for no members."""
    if not members:
        return ""
    return "{" + ",".join(f"{_encode(key).decode()}:{bytes(value).decode()}" for key, value in members.items()) + "}"


class _Splitter:
    """The slow path, for texts that msgspec refuses: it takes no escape of a lone surrogate, which JSON allows."""

    _space = re.compile(r"[ \t\n\r]*")

    def __init__(self, text: Raw) -> None:
        self._text = bytes(text).decode()
        self._decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=self._refuse)
        self._at = 0

    @staticmethod
    def _refuse(name: str) -> float:
        raise ValueError(f"{name} is not JSON")

    def split(self) -> tuple[Members | None, list[Raw] | None]:
        """Members of an object or elements of an array; two times None for a valid scalar."""
        self._skip()
        members: Members | None = None
        elements: list[Raw] | None = None
        if self._text.startswith("{", self._at):
            members = {}
            for key in self._items("}"):
                name = json.loads(key)
                if not isinstance(name, str):
                    raise ValueError(f"{key.decode()} is no key")  # noqa: TRY004 # the text's fault
                self._expect(":")
                # A key that no string can hold would be lost; no API sends one.
                members[name.encode().decode()] = self._value()
        elif self._text.startswith("[", self._at):
            elements = list(self._items("]"))
        else:
            self._value()
        if self._at != len(self._text):
            raise ValueError(f"trailing characters at {self._at}")
        return members, elements

    def _items(self, end: str) -> Iterator[bytes]:
        self._at += 1
        self._skip()
        if self._text.startswith(end, self._at):
            self._expect(end)
            return
        while True:
            yield self._value()
            if self._text.startswith(end, self._at):
                self._expect(end)
                return
            self._expect(",")

    def _value(self) -> bytes:
        start = self._at
        _, self._at = self._decoder.raw_decode(self._text, start)
        value = self._text[start : self._at].encode()
        self._skip()
        return value

    def _expect(self, character: str) -> None:
        if not self._text.startswith(character, self._at):
            raise ValueError(f"{character!r} expected at {self._at}")
        self._at += 1
        self._skip()

    def _skip(self) -> None:
        match = self._space.match(self._text, self._at)
        assert match is not None  # noqa: S101 # the pattern matches the empty string
        self._at = match.end()
