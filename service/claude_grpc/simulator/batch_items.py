"""The requests of a batch: read from its body without parsing what they ask, and each answered as a message is."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

from .errors import ApiError, describe_error, error_status, invalid
from .faults import RawAnswer, refusal
from .headers import Caller
from .messages import build_answer
from .prompt import Prompt, read_prompt
from .raw_json import ODD_JSON, RawJson, encode
from .shapes import FUTURE_FIELD
from .signing import Signer

__all__ = ["Check", "Fate", "Item", "judge", "read_items", "result_line"]

_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MOST_ID = 64
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_STRING = msgspec.json.Decoder(str)

Check = Callable[[Prompt, Caller], object]


class Fate(IntEnum):
    """What becomes of a request; a result of a type yet unknown counts as succeeded."""

    SUCCEEDED = 0
    ERRORED = 1
    CANCELED = 2
    EXPIRED = 3


class Item(NamedTuple):
    """One request: its name, and a view of its JSON in the body."""

    custom_id: str
    params: msgspec.Raw


def read_items(body: bytearray, most: int) -> list[Item]:
    """Read the body of a batch.

    Raises:
        ApiError: 400, what the API refuses at once: everything but the contents of ``params``.
    """
    outer = _decode(_OBJECT, body, "")
    for name in outer:
        if name != "requests":
            raise invalid(name, "Extra inputs are not permitted")
    if "requests" not in outer:
        raise invalid("requests", "Field required")
    requests = _decode(_LIST, outer["requests"], "requests")
    if not requests:
        raise invalid("requests", "List should have at least 1 item after validation, not 0")
    if len(requests) > most:
        raise invalid("requests", f"List should have at most {most} items after validation, not {len(requests)}")
    items = [_read_item(f"requests.{number}", raw) for number, raw in enumerate(requests)]
    _check_unique(items)
    return items


def _read_item(path: str, raw: msgspec.Raw) -> Item:
    fields = _decode(_OBJECT, raw, path)
    for name in ("custom_id", "params"):
        if name not in fields:
            raise invalid(f"{path}.{name}", "Field required")
    for name in fields:
        if name not in ("custom_id", "params"):
            raise invalid(f"{path}.{name}", "Extra inputs are not permitted")
    custom_id = _decode(_STRING, fields["custom_id"], f"{path}.custom_id")
    if len(custom_id) > _MOST_ID:
        raise invalid(f"{path}.custom_id", f"String should have at most {_MOST_ID} characters")
    if not _CUSTOM_ID.fullmatch(custom_id):
        raise invalid(f"{path}.custom_id", f"String should match pattern '^{_CUSTOM_ID.pattern}$'")
    if not bytes(memoryview(fields["params"])[:1]) == b"{":
        raise invalid(f"{path}.params", "Input should be a valid dictionary")
    return Item(custom_id, fields["params"])


def _decode(decoder: msgspec.json.Decoder[Any], raw: bytearray | msgspec.Raw, path: str) -> Any:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        kind = {_OBJECT: "dictionary", _LIST: "list"}.get(decoder, "string")
        raise ApiError(400, f"{path}: Input should be a valid {kind}".removeprefix(": ")) from None
    except msgspec.DecodeError as error:
        raise ApiError(400, f"The request body is not valid JSON: {error}") from None


def _check_unique(items: list[Item]) -> None:
    seen: set[str] = set()
    for item in items:
        if item.custom_id in seen:
            problem = "custom_id's must be unique within a batch. Duplicate custom_id found"
            raise invalid("requests", f"{problem}: {item.custom_id}")
        seen.add(item.custom_id)


def judge(item: Item, caller: Caller, check: Check) -> tuple[Fate, RawJson | None]:
    """Tell what becomes of a request that is not cut short, and its error; its answer is not built for that."""
    try:
        prompt = _read(item, caller, check)
    except ApiError as error:
        # Of what is refused before it is tried, the API tells no request id.
        error.details = {"error_visibility": "user_facing", **error.details}
        return Fate.ERRORED, RawJson(encode(describe_error(error, None)))
    if "cancel" in prompt.directives:
        return Fate.CANCELED, None
    return (Fate.EXPIRED if "expire" in prompt.directives else Fate.SUCCEEDED), None


def result_line(item: Item, fate: Fate, error: RawJson | None, key: bytes) -> bytes:
    """Return the line of a request in the results; ``key`` signs what is signed in its message."""
    line: dict[str, Any] = {"custom_id": item.custom_id, "result": {"type": fate.name.lower()}}
    if fate is Fate.ERRORED:
        line["result"]["error"] = error
    if fate is not Fate.SUCCEEDED:
        return encode(line).encode() + b"\n"
    prompt = read_prompt(bytes(item.params))
    message = build_answer(prompt, Signer(key, prompt.body["model"])).message
    line["result"]["message"] = message | {"usage": message["usage"] | {"service_tier": "batch"}}
    if "unknown-result" in prompt.directives:
        line["result"] = {"type": "future_result", FUTURE_FIELD: ODD_JSON}
    if "extra-field" in prompt.directives:
        line["result"][FUTURE_FIELD] = line[FUTURE_FIELD] = ODD_JSON
    written = encode(line).encode()
    return (written[: len(written) // 2] if "bad-json" in prompt.directives else written) + b"\n"


def _read(item: Item, caller: Caller, check: Check) -> Prompt:
    prompt = read_prompt(bytes(item.params))
    if failure := prompt.directives.get("error"):
        refused = refusal(failure)
        raise ApiError(refused.status, "Bad gateway") if isinstance(refused, RawAnswer) else refused
    if failure := prompt.directives.get("error-event"):
        kind = failure.word("overloaded_error")
        raise ApiError(error_status(kind), "Overloaded", type=kind)
    if prompt.body.get("stream"):
        raise ApiError(400, '"stream=True" is not supported in the Message Batches API')
    check(prompt, caller)
    if prompt.body["max_tokens"] < 1:
        raise invalid("max_tokens", "must be greater than or equal to 1")
    return prompt
