"""One breaker a model, for the models that need one: those that have failed of late.

A model that answers costs nothing here, and a caller that makes up names cannot fill the memory with them.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from typing import Final

from claude_grpc.errors import BreakerOpenError
from claude_grpc.upstream.breaker import Breaker, BreakerPolicy, BreakerSnapshot, Verdict

__all__ = ["Breakers"]

_LONGEST_NAME: Final = 256


class Breakers:
    """The breakers of an upstream, by model. An empty name has none, nor has one that no model can have.

    Args:
        policy: Of each of them.
        clock: Monotonic.
        most: Breakers that are kept; beyond it the one is forgotten that was used least of late.
    """

    def __init__(
        self, policy: BreakerPolicy | None = None, *, clock: Callable[[], float] = time.monotonic, most: int = 128
    ) -> None:
        self._policy = policy or BreakerPolicy()
        self._clock = clock
        self._most = most
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()

    def admit(self, name: str) -> float:
        """Return when the attempt begins, to be given back to ``record``.

        Raises:
            BreakerOpenError: It is not to be made.
        """
        now = self._clock()
        breaker = self._find(name)
        if breaker is not None and not breaker.admit(now):
            seconds = breaker.seconds_left(now)
            message = f"{name} has been failing; the gateway asks it again in {ceil(seconds)} s."
            raise BreakerOpenError(message, retry_after=seconds)
        return now

    def record(self, name: str, began: float, verdict: Verdict) -> None:
        """Note how an attempt ended."""
        breaker = self._find(name)
        if breaker is None and verdict is Verdict.FAILED and 0 < len(name) <= _LONGEST_NAME:
            breaker = self._breakers[name] = Breaker(self._policy)
            if len(self._breakers) > self._most:
                self._breakers.popitem(last=False)
        if breaker is not None:
            breaker.record(began, verdict, self._clock())

    def seconds_left(self, name: str) -> float:
        """For how long attempts are refused; 0 if they are not."""
        breaker = self._find(name)
        return 0.0 if breaker is None else breaker.seconds_left(self._clock())

    def snapshots(self) -> list[BreakerSnapshot]:
        """How each stands, by name."""
        now = self._clock()
        return [breaker.snapshot(name, now) for name, breaker in sorted(self._breakers.items())]

    def _find(self, name: str) -> Breaker | None:
        breaker = self._breakers.get(name)
        if breaker is not None:
            self._breakers.move_to_end(name)
        return breaker
