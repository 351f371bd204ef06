"""Cuts lists into pages in the API's two ways: by the id of a neighbour, and by an opaque cursor."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from multidict import MultiMapping

from .errors import ApiError, invalid
from .store import Stored

__all__ = ["check_query", "page_by_cursor", "page_by_id", "values_of"]

Thing = TypeVar("Thing", bound=Stored)
Query = MultiMapping[str]
Show = Callable[[Any], Mapping[str, Any]]

_DEFAULT_LIMIT = 20
_MOST = 1000


def check_query(query: Query, *allowed: str) -> None:
    """Check that no parameter is unknown: one that does nothing here is a client's mistake."""
    for name in query:
        if name.removesuffix("[]") not in (*allowed, "beta"):
            raise invalid(name, "Extra inputs are not permitted")


def values_of(query: Query, name: str) -> list[str]:
    """Return the values of a list parameter, which is sent as ``name[]``."""
    return [*query.getall(f"{name}[]", []), *query.getall(name, [])]


def page_by_id(query: Query, things: Sequence[Thing], show: Show) -> dict[str, Any]:
    """Return the page that ``after_id`` or ``before_id`` asks for, of objects in the order of the list."""
    limit = _limit(query)
    after, before = query.get("after_id"), query.get("before_id")
    if after is not None and before is not None:
        raise ApiError(400, "before_id: may not be given together with after_id")
    if before is not None:
        end = _index(things, before, "before_id")
        start = max(0, end - limit)
        more = start > 0
    else:
        start = 0 if after is None else _index(things, after, "after_id") + 1
        end = start + limit
        more = end < len(things)
    page = things[start:end]
    return {
        "data": [show(thing) for thing in page],
        "has_more": more,
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }


def page_by_cursor(query: Query, things: Sequence[Thing], show: Show, kind: str) -> dict[str, Any]:
    """Return the page that ``page`` asks for, of objects with falling numbers; ``kind`` tells the lists apart."""
    limit = _limit(query)
    if (cursor := query.get("page")) is not None:
        number = _read_cursor(cursor, kind)
        things = [thing for thing in things if thing.number < number]
    page = things[:limit]
    following = _write_cursor(page[-1].number, kind) if len(things) > limit else None
    return {"data": [show(thing) for thing in page], "next_page": following}


def _limit(query: Query) -> int:
    text = query.get("limit", str(_DEFAULT_LIMIT))
    if not text.isascii() or not text.isdigit():
        raise invalid("limit", "Input should be a valid integer, unable to parse string as an integer")
    limit = int(text)
    if limit < 1:
        raise invalid("limit", "Input should be greater than or equal to 1")
    if limit > _MOST:
        raise invalid("limit", f"Input should be less than or equal to {_MOST}")
    return limit


def _index(things: Sequence[Thing], name: str, parameter: str) -> int:
    for index, thing in enumerate(things):
        if thing.id == name:
            return index
    raise invalid(parameter, f"{name} names no object of this list")


def _write_cursor(number: int, kind: str) -> str:
    return "page_" + base64.urlsafe_b64encode(f"{kind} {number}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str, kind: str) -> int:
    try:
        text = base64.urlsafe_b64decode(cursor.removeprefix("page_") + "==").decode()
        name, number = text.split(" ")
        if name == kind and cursor == _write_cursor(int(number), kind):
            return int(number)
    except ValueError:
        pass
    raise invalid("page", "Invalid page token")
