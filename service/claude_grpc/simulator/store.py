"""What the simulator keeps between requests: the objects of one kind by id, and how many bytes all kinds may hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Generic, Self, TypeVar

from .errors import ApiError

__all__ = ["Quota", "Reservation", "Store", "Stored", "make_id"]


@dataclass(eq=False, kw_only=True)
class Stored:
    """An object with an id; ``number`` grows with each that is made, so that pages stay put when objects go."""

    id: str
    number: int


Thing = TypeVar("Thing", bound=Stored)


def make_id(prefix: str, number: int) -> str:
    """Return an id of the API's form, the same for the same number."""
    return f"{prefix}_01{hashlib.sha256(f'{prefix} {number}'.encode()).hexdigest()[:22]}"


class Store(Generic[Thing]):
    """The objects of one kind, oldest first, so many at most; ``missing`` says that an id names none of them."""

    def __init__(self, missing: str, most: int) -> None:
        self._missing = missing
        self._most = most
        self._things: dict[str, Thing] = {}
        self.numbers = count(1)

    def __iter__(self) -> Iterator[Thing]:
        return iter(self._things.values())

    def __len__(self) -> int:
        return len(self._things)

    def newest_first(self) -> list[Thing]:
        """Return all, in the order in which the API lists them."""
        return list(reversed(self._things.values()))

    def add(self, thing: Thing) -> None:
        """Keep an object.

        Raises:
            ApiError: 429, there are too many.
        """
        if len(self._things) >= self._most:
            raise ApiError(429, f"The simulator keeps no more than {self._most} of these. Delete some.")
        self._things[thing.id] = thing

    def find(self, name: str) -> Thing:
        """Return the object with an id.

        Raises:
            ApiError: 404, there is none.
        """
        if name not in self._things:
            raise ApiError(404, self._missing.format(name))
        return self._things[name]

    def get(self, name: object) -> Thing | None:
        """Return the object with an id, None when there is none."""
        return self._things.get(name) if isinstance(name, str) else None

    def remove(self, thing: Thing) -> None:
        """Forget an object."""
        del self._things[thing.id]


class Quota:
    """The bytes that may be stored in all; the API's own answer when there is no room."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.used = 0

    def take(self, size: int) -> None:
        """Count bytes that are to be kept.

        Raises:
            ApiError: 400, there is no room for them.
        """
        if self.used + size > self._most:
            message = "The organization's file storage quota is exhausted. Delete files to free up space."
            raise ApiError(400, message, details={"error_code": "storage_quota_exceeded"})
        self.used += size

    def give(self, size: int) -> None:
        """Count bytes that are no longer kept."""
        self.used -= size

    def reserve(self) -> Reservation:
        """Begin to count the bytes of something that may not come to its end."""
        return Reservation(self)


class Reservation:
    """Bytes taken piece by piece in a ``with``, given back at its end unless ``keep`` was called."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self.size = 0
        self._kept = False

    def take(self, size: int) -> None:
        """Count some more bytes; raises as ``Quota.take``."""
        self._quota.take(size)
        self.size += size

    def give(self) -> None:
        """Count none of them any more."""
        self._quota.give(self.size)
        self.size = 0

    def keep(self) -> None:
        """Leave them counted at the end."""
        self._kept = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            self.give()
