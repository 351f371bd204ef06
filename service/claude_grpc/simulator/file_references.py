"""The files that a message names by their ids: they must be there, not expired, and of a type the block can show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .errors import invalid
from .files import Files
from .prompt import Prompt

__all__ = ["check_file_references", "mention_files"]

_TYPES = {
    "image": ("image/jpeg", "image/png", "image/gif", "image/webp"),
    "document": ("application/pdf", "text/plain"),
}


def check_file_references(body: dict[str, Any], files: Files) -> None:
    """Check a request whose conversation passed.

    Raises:
        ApiError: 404, no such file, or expired; 400, a block cannot show a file of this type.
    """
    for path, kind, name in _references(body):
        mime_type = files.usable(name).mime_type.partition(";")[0]
        if kind in _TYPES and mime_type not in _TYPES[kind]:
            raise invalid(path, f"a file of type {mime_type} cannot stand in `{kind}` blocks")


def mention_files(prompt: Prompt, files: Files) -> Prompt:
    """Return the prompt with its files in the question, so that the answer shows that they were seen."""
    named = [file for _, _, name in _references(prompt.body) if (file := files.get(name))]
    told = [f"({file.filename}, {file.mime_type}, {file.content.size} bytes)" for file in named]
    return replace(prompt, question=" ".join([prompt.question, *told]).strip()) if told else prompt


def _references(body: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    # What an assistant names was made by a tool, in a place that the simulator does not have.
    for number, message in enumerate(body["messages"]):
        if message["role"] == "assistant":
            continue
        yield from _references_in(f"messages.{number}.content", message["content"])


def _references_in(path: str, content: Any) -> Iterator[tuple[str, str, Any]]:
    for number, block in enumerate(content if isinstance(content, list) else ()):
        kind, source = block["type"], block.get("source")
        where = f"{path}.{number}.{kind}"
        if kind == "container_upload":
            yield where, kind, block["file_id"]
        elif kind in _TYPES and source["type"] == "file":
            yield where, kind, source.get("file_id")
        elif kind == "tool_result":
            yield from _references_in(f"{where}.content", block.get("content"))
