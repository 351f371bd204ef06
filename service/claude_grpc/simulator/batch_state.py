"""A batch on its way from ``in_progress`` to ``ended``: how far it is, when it stops, what became of its requests."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .batch_items import Fate, Item
from .clock import DAY, timestamp
from .headers import Caller
from .raw_json import RawJson
from .store import Stored

__all__ = ["Batch"]

_EXPIRES_AFTER = DAY
_ARCHIVED_AFTER = 29 * DAY
# So that a third, three times, is the whole.
_WHOLE = 1 - 1e-9


@dataclass(eq=False, kw_only=True)
class Batch(Stored):
    """A batch. Its requests are done in the order of its results; those that are not when it stops share one fate.

    Attributes:
        caller: Who made it; its headers hold for each request.
        items: The requests in the order in which they came.
        fates: What becomes of each of these, if it is done.
        errors: The errors, by the place in ``items``.
        size: The bytes of its body.
        seconds: How long it takes, 0 when it is moved on otherwise.
        progress: How much of it is done, from 0 to 1.
    """

    caller: Caller
    items: list[Item]
    fates: bytes
    errors: Mapping[int, RawJson]
    size: int
    seed: int
    created_at: float
    seconds: float = 0.0
    progress: float = 0.0
    cancel_initiated_at: float | None = None
    ended_at: float | None = None
    archived_at: float | None = None

    def __post_init__(self) -> None:
        self._order = array("L", range(len(self.items)))
        random.Random(f"{self.seed} {self.id}").shuffle(self._order)  # noqa: S311
        self._rest = Fate.CANCELED
        self._counts: Counter[Fate] = Counter()

    @property
    def status(self) -> str:
        """The ``processing_status``."""
        if self.ended_at is not None:
            return "ended"
        return "in_progress" if self.cancel_initiated_at is None else "canceling"

    def refresh(self, now: float) -> None:
        """Let happen what time alone brings: progress, expiry, the end of the results."""
        if self.ended_at is None and self.seconds and self.cancel_initiated_at is None:
            self.progress = min(1.0, (min(now, self._expires_at) - self.created_at) / self.seconds)
            if self.progress >= 1:
                self._end(self.created_at + self.seconds)
        if self.ended_at is None and now >= self._expires_at:
            self._rest = Fate.EXPIRED if self.cancel_initiated_at is None else Fate.CANCELED
            self._end(self._expires_at)
        if self.archived_at is None and now >= self.created_at + _ARCHIVED_AFTER:
            self.archived_at = self.created_at + _ARCHIVED_AFTER

    def move(self, fraction: float, now: float) -> None:
        """Do a part of the work; one that is being canceled ends."""
        if self.ended_at is None and self.cancel_initiated_at is None:
            self.progress = min(1.0, self.progress + fraction)
        if self.ended_at is None and (self.cancel_initiated_at is not None or self.progress >= _WHOLE):
            self._end(now)

    def cancel(self, now: float) -> None:
        """Stop the work; what is not done is canceled, once the batch ends."""
        if self.cancel_initiated_at is None:
            self.cancel_initiated_at = now

    def _end(self, at: float) -> None:
        self.ended_at = at
        self._counts.update(fate for _, fate, _ in self.results())

    @property
    def _expires_at(self) -> float:
        return self.created_at + _EXPIRES_AFTER

    @property
    def _done(self) -> int:
        return len(self.items) if self.progress >= _WHOLE else int(len(self.items) * self.progress)

    def results(self) -> Iterator[tuple[Item, Fate, RawJson | None]]:
        """Yield each request with what became of it and its error, in the order of the results."""
        done = self._done
        for place, index in enumerate(self._order):
            fate = Fate(self.fates[index]) if place < done else self._rest
            yield self.items[index], fate, self.errors.get(index)

    def show(self, results_url: str) -> dict[str, Any]:
        """Return the JSON object."""
        there = self.ended_at is not None and self.archived_at is None
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": self.status,
            "request_counts": {
                "processing": 0 if self.ended_at is not None else len(self.items),
                **{fate.name.lower(): self._counts[fate] for fate in Fate},
            },
            "ended_at": timestamp(self.ended_at),
            "created_at": timestamp(self.created_at),
            "expires_at": timestamp(self._expires_at),
            "archived_at": timestamp(self.archived_at),
            "cancel_initiated_at": timestamp(self.cancel_initiated_at),
            "results_url": results_url if there else None,
        }
