"""What a request body says, read before it is checked: the question, the directives in it, the results of tools.

Everything here takes any JSON value, so that a malformed request reaches ``checks`` and gets the API's answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from .errors import ApiError
from .faults import Directives, find_directives
from .raw_json import canonical, parse

__all__ = ["Prompt", "read_prompt", "text_of"]


@dataclass(frozen=True)
class Prompt:
    """A request body and what the simulator answers to.

    Attributes:
        body: The JSON object.
        digest: The same for the same request, streaming or not; ids are made from it.
        question: The text of the last user turn, directives taken out.
        directives: The directives in it, by name.
        results: The text of each tool result in it.
    """

    body: dict[str, Any]
    digest: bytes
    question: str
    directives: Directives
    results: tuple[str, ...]

    def make_id(self, prefix: str, number: int = 0) -> str:
        """Return an id of the API's form, the same for the same request."""
        digest = hashlib.sha256(self.digest + number.to_bytes(4, "big")).hexdigest()
        return f"{prefix}_01{digest[:22]}"

    @property
    def asked(self) -> list[str]:
        """The names that ``answer`` asks for."""
        wanted = self.directives.get("answer")
        return wanted.text.replace(",", " ").split() if wanted else []

    @property
    def thinks(self) -> bool:
        """Whether thinking is on."""
        thinking = self.body.get("thinking")
        return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")


def read_prompt(raw: bytes) -> Prompt:
    """Read a request body.

    Raises:
        ApiError: 400, it is not a JSON object.
    """
    try:
        body = parse(raw.decode())
        digest = hashlib.sha256(canonical(_without_stream(body))).digest()
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"The request body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise ApiError(400, "Input should be a valid dictionary")
    blocks = _last_user_turn(body.get("messages"))
    directives, question = find_directives(text_of(blocks))
    results = [text_of(block.get("content")) for block in blocks if block.get("type") == "tool_result"]
    return Prompt(body, digest, question, directives, tuple(results))


def text_of(content: Any) -> str:
    """Return the text of a content: a string, or the text blocks of a list."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    texts = [block.get("text") for block in blocks if isinstance(block, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _without_stream(body: Any) -> Any:
    return {name: value for name, value in body.items() if name != "stream"} if isinstance(body, dict) else body


def _last_user_turn(messages: Any) -> list[dict[str, Any]]:
    """Return the blocks of the last user turn; user messages in a row are one turn to the API."""
    turn: list[dict[str, Any]] = []
    for message in reversed(messages if isinstance(messages, list) else []):
        if not isinstance(message, dict) or message.get("role") != "user":
            if turn:
                break
            continue
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        turn[:0] = [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
    return turn
