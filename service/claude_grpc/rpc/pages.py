"""Lists page by page, as AIP-158 has them, over the API's two kinds of cursor.

A page token is a cursor of the API, sealed with a hash of the request that it belongs to: a token that was changed, or
that came from another list or other filters, is refused here instead of meaning something else there.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, Protocol
from urllib.parse import quote

from google.protobuf.message import Message

from claude_grpc.codec import Violations

__all__ = ["Page", "list_query", "next_page_token"]

_MOST: Final = 1000
_VERSION: Final = b"1"
_SEAL_BYTES: Final = 12


class Page(Protocol):
    """What responses of lists have in common."""

    next_page_token: str
    extra_json: str


def list_query(request: Message, filters: Mapping[str, str], violations: Violations) -> str:
    """The query of the URL for the page that ``request`` asks for, with its ``?``; empty for the API's defaults.

    Args:
        request: Of a list; the fields of its page are read by their names.
        filters: Name of a field to its key in the query, ``key[]`` for a list.
        violations: Takes what is wrong with the page.
    """
    parameters: list[tuple[str, str]] = []
    size: int = getattr(request, "page_size")  # noqa: B009 # no Message has it as far as types know
    token: str = getattr(request, "page_token")  # noqa: B009
    if size < 0:
        violations.add((None, "page_size"), "Must not be negative.")
    elif size:
        parameters.append(("limit", str(min(size, _MOST))))
    if token:
        cursor = _unseal(token, request)
        if cursor is None:
            violations.add((None, "page_token"), "Is not one that this list gave out for these fields of the request.")
        else:
            parameters.append(cursor)
    for name, key in filters.items():
        value = getattr(request, name)
        parameters += [(key, each) for each in ([value] if isinstance(value, str) else value) if each]
    # Brackets as the API's own clients spell them, escaped.
    query = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in parameters)
    return f"?{query}" if query else ""


def next_page_token(request: Message, page: Page) -> str:
    """The token for the page after this one; empty if this is the last."""
    more = json.loads(page.extra_json or "{}")
    if isinstance(after := more.get("next_page"), str):
        return _seal("page", after, request)
    if more.get("has_more") is True and isinstance(after := more.get("last_id"), str):
        return _seal("after_id", after, request)
    return ""


def _seal(key: str, cursor: str, request: Message) -> str:
    content = f"{key}={cursor}".encode()
    return urlsafe_b64encode(_VERSION + _hash(content, request) + content).rstrip(b"=").decode()


def _unseal(token: str, request: Message) -> tuple[str, str] | None:
    try:
        opened = urlsafe_b64decode(token.encode("ascii") + b"==")
    except ValueError:
        return None
    seal, content = opened[: 1 + _SEAL_BYTES], opened[1 + _SEAL_BYTES :]
    if seal != _VERSION + _hash(content, request):
        return None
    key, _, cursor = content.decode().partition("=")
    return key, cursor


def _hash(content: bytes, request: Message) -> bytes:
    """Of the cursor and of all in the request but its page, and how the call is handled."""
    scope = type(request)()
    scope.CopyFrom(request)
    for name in ("page_size", "page_token", "call_options"):
        scope.ClearField(name)
    seal = blake2b(digest_size=_SEAL_BYTES, person=b"claude-grpc page")
    for part in (type(request).DESCRIPTOR.full_name.encode(), scope.SerializeToString(deterministic=True), content):
        seal.update(len(part).to_bytes(8))
        seal.update(part)
    return seal.digest()
