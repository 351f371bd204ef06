"""Where the time of one call goes: a clock that is always in exactly one phase, so that the phases add up to the whole.

The caller gets it in the trailer ``claude-grpc-timing``. Costs one reading of the clock a phase, whatever else is on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final

__all__ = ["TRAILER", "Ledger", "Phase"]

TRAILER: Final = "claude-grpc-timing"

# A caller whose own clock says that time is up cancels before ours does, and gRPC rounds a deadline up to two digits.
_EARLY_SECONDS: Final = 0.02
_EARLY_SHARE: Final = 0.01


class Phase(StrEnum):
    """What a call does with its time; the value is its name in the trailer."""

    ADMISSION = "admission"
    """It waits until it may begin."""
    RECEIVE = "receive"
    """The gateway waits for the caller to send the request, or the next part of an upload."""
    ENCODE = "encode"
    """The gateway checks the request and makes JSON of it."""
    RETRY = "retry"
    """Attempts that failed, and the waits between them."""
    CONNECT = "connect"
    """It gets a connection to upstream."""
    FIRST_EVENT = "first-event"
    """Upstream has the request and has not begun to answer."""
    STREAM = "stream"
    """The gateway waits for more of an answer that has begun."""
    RELAY = "relay"
    """The gateway decodes what came and hands it to the caller, who may be slow to take it."""


_PHASES: Final = tuple(Phase)
_LINE: Final = "".join(f"{phase}=%d," for phase in _PHASES) + "total=%d"


class Ledger:
    """The times of one call, in seconds of ``clock``.

    Attributes:
        phase: The one it is in.
        started: When the call began.

    Args:
        deadline: When its caller stops waiting; None if never.
    """

    __slots__ = ("_clock", "_deadline", "_earlier", "_since", "_spent", "phase", "started")

    def __init__(self, deadline: float | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deadline = deadline
        self.started = self._since = clock()
        self.phase = Phase.ADMISSION
        self._spent: dict[Phase, float] = {}
        # What the attempts before the one that runs have spent in the phases of an attempt.
        self._earlier = (0.0, 0.0)

    @property
    def seconds(self) -> float:
        """How long the call has taken up to now."""
        return self._clock() - self.started

    @property
    def is_late(self) -> bool:
        """Whether a call that is cancelled now is so because its time is up."""
        if self._deadline is None:
            return False
        early = max(_EARLY_SECONDS, (self._deadline - self.started) * _EARLY_SHARE)
        return self._clock() >= self._deadline - early

    def enter(self, phase: Phase) -> float:
        """End the phase that runs and begin another; return the time."""
        now = self._clock()
        self._spent[self.phase] = self._spent.get(self.phase, 0.0) + now - self._since
        self.phase, self._since = phase, now
        return now

    def receiving(self) -> Phase:
        """Begin to wait for the caller; return the phase to go on with."""
        before = self.phase
        self.enter(Phase.RECEIVE)
        return before

    def received(self, before: Phase) -> None:
        """Go on with the phase from before, unless another has begun: upstream may answer while the caller sends."""
        if self.phase is Phase.RECEIVE:
            self.enter(before)

    def begin_attempt(self) -> None:
        """Begin an attempt, with the way to a connection."""
        self.enter(Phase.CONNECT)
        self._earlier = (self._spent.get(Phase.CONNECT, 0.0), self._spent.get(Phase.FIRST_EVENT, 0.0))

    def give_up(self) -> None:
        """Count the attempt that has just failed, and the wait that may follow, as time for retries."""
        self.enter(Phase.RETRY)
        for phase, earlier in zip((Phase.CONNECT, Phase.FIRST_EVENT), self._earlier, strict=True):
            wasted = self._spent.get(phase, 0.0) - earlier
            self._spent[phase] = earlier
            self._spent[Phase.RETRY] = self._spent.get(Phase.RETRY, 0.0) + wasted

    def waited(self, seconds: float, *, waits: bool = False) -> None:
        """Count what it waited for more of an answer while it was about to relay it; ``waits`` if it does still."""
        self._spent[Phase.RELAY] = self._spent.get(Phase.RELAY, 0.0) - seconds
        self._spent[Phase.STREAM] = self._spent.get(Phase.STREAM, 0.0) + seconds
        if waits:
            self.enter(Phase.STREAM)

    def line(self) -> str:
        """The times up to now, as the trailer has them: whole microseconds, and ``total`` is their sum."""
        self.enter(self.phase)
        spent = self._spent
        micros = [max(round(spent.get(phase, 0.0) * 1e6), 0) for phase in _PHASES]
        return _LINE % (*micros, sum(micros))
