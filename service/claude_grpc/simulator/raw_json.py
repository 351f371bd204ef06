"""JSON as the simulator writes it: compact, keys as given, and raw where a test wants a spelling of its own."""

from __future__ import annotations

import json
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

__all__ = ["ODD_JSON", "RawJson", "canonical", "encode", "parse"]


_WORDS = {None: "null", True: "true", False: "false"}


class RawJson(str):
    """JSON text that ``encode`` writes as it is, to the byte."""

    __slots__ = ()


# Every spelling that a program breaks when it parses JSON and writes it again.
ODD_JSON = RawJson(
    r'{"z": 1.0,  "a": 12345678901234567890, "\u00e9": "\u00e9\u00E9\/é", "m": [ 1E+2, -0.0, null ,{ "b":0.10 } ]}'
)


def encode(value: Any) -> str:
    """Return the JSON text of a value that may hold ``RawJson`` at any depth."""
    if isinstance(value, str):
        return str(value) if isinstance(value, RawJson) else encode_basestring(value)
    if type(value) is int:
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode_basestring_ascii(key)}:{encode(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(encode, value)) + "]"
    return _WORDS[value] if value is None or isinstance(value, bool) else json.dumps(value)


def parse(text: str) -> Any:
    """Parse JSON as strictly as the API, and stricter: no NaN, and no key twice in the outermost object.

    Raises:
        ValueError: with the API's words for what is wrong.
    """
    doubled: str | None = None

    def from_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # The outermost object is built last, so that its answer is the one that stays.
        nonlocal doubled
        names = [name for name, _ in pairs]
        built = dict(pairs)
        doubled = None if len(built) == len(names) else max(names, key=names.count)
        return built

    value = json.loads(text, object_pairs_hook=from_pairs, parse_constant=_refuse_constant)
    if isinstance(value, dict) and doubled is not None:
        raise ValueError(f"duplicate key `{doubled}`")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"unexpected constant: {name}")


def canonical(value: Any) -> bytes:
    """Return the one spelling of a JSON value, for hashes and comparisons: 1 and 1.0 differ, key order does not.

    Raises:
        UnicodeEncodeError: a string holds half of a surrogate pair.
    """
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode()
