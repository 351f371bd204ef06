"""Admission: whether a call is taken now, in a moment or not at all, and how much of requests comes into memory.

Stands before the request is read. Until it is read, the caller's flow control keeps all but 2 MiB of it on the other
side, which bounds what those who wait here cost. How large a request is shows only when it has come; so who reads
one reserves what the largest would need. A few may read without a reservation, that small requests need not wait for
large ones; if theirs turns out not to fit, or is long in coming, they are refused.

`Ledger` is the machine: no clock, no loop, no call. `Admission` makes a layer of it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from enum import Enum, auto

from claude_grpc.errors import DrainingError, GatewayOverloadedError
from claude_grpc.rpc.call import Call, Read

__all__ = ["Admission", "AdmissionLimits", "Entry", "Ledger", "Load", "Place"]

# A request up to this size is not counted: gRPC's own buffers cost as much, and the limit of calls bounds them.
_SMALL_BYTES = 64 * 1024
# How long a request may be in coming without a reservation: a small one is there by then.
_UNRESERVED_SECONDS = 0.25
# How long who reads a large part keeps others from it: a caller may take its time with the next one.
_TURN_SECONDS = 1.0
# A refusal must reach the caller before its deadline does.
_MARGIN_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionLimits:
    """How much is taken at once.

    Attributes:
        max_calls: Calls that run, those included that wait for memory to read their request.
        max_queued: Calls beyond that which wait for one to end; more are refused at once.
        queue_seconds: How long a call waits at most, for whatever.
        max_bytes: Bytes of requests in memory, from when they are read until upstream has answered.
        max_request_bytes: What a single request may have.
        unreserved_reads: Requests that may be read while memory for the largest is not free.
        request_seconds: How long a request may be in coming, or the next part of one that comes in parts: a caller that
            sends nothing must not keep its place for ever.
    """

    max_calls: int = 1000
    max_queued: int = 100
    queue_seconds: float = 2.0
    max_bytes: int = 160 * 1024 * 1024
    max_request_bytes: int = 40 * 1024 * 1024
    unreserved_reads: int = 3
    request_seconds: float = 60.0


class Place(Enum):
    """How far a call has come."""

    QUEUED = auto()
    RESERVED = auto()
    UNRESERVED = auto()
    HOLDING = auto()
    FREED = auto()
    LEFT = auto()


@dataclass(slots=True, eq=False)
class Entry:
    """A call in the ledger, with the bytes it is charged for."""

    place: Place = Place.QUEUED
    size: int = 0


class Ledger:
    """Counts calls and their bytes, first come, first served.

    Args:
        limits: What it keeps to.
        admit: Told of each entry that leaves the queue for a place to read.
    """

    def __init__(self, limits: AdmissionLimits, admit: Callable[[Entry], None]) -> None:
        self.calls = 0
        self.bytes = 0
        self.unreserved = 0
        self._limits = limits
        self._admit = admit
        self._queue: deque[Entry] = deque()

    @property
    def queued(self) -> tuple[Entry, ...]:
        """Those who wait, the first in front."""
        return tuple(self._queue)

    def arrive(self) -> Entry | None:
        """A new call's entry, which reads or is queued; None if there is no room in the queue."""
        entry = Entry()
        if not self._queue and self._take_place(entry):
            return entry
        if self.calls + len(self._queue) >= self._limits.max_calls + self._limits.max_queued:
            return None
        self._queue.append(entry)
        return entry

    def reserve(self, entry: Entry) -> bool:
        """Whether the entry, which reads, has a reservation, now if not before."""
        if entry.place is Place.UNRESERVED and self._fits(self._limits.max_request_bytes):
            self._move(entry, Place.RESERVED, self._limits.max_request_bytes)
            self._serve_queue()
        return entry.place is Place.RESERVED

    def hold(self, entry: Entry, size: int) -> bool:
        """Whether a request of this size, which has come, may stay, in place of one before; then it is charged for."""
        size = size if size > _SMALL_BYTES else 0
        fits = not size or self._fits(size - entry.size)
        if entry.place is Place.RESERVED or (entry.place in {Place.UNRESERVED, Place.HOLDING} and fits):
            self._move(entry, Place.HOLDING, size)
            self._serve_queue()
            return True
        return False

    def free(self, entry: Entry) -> None:
        """The request is no longer in memory, though the call goes on."""
        if entry.place is Place.HOLDING:
            self._move(entry, Place.FREED)
            self._serve_queue()

    def leave(self, entry: Entry) -> None:
        """The call has ended, wherever it stood."""
        if entry.place is Place.QUEUED:
            self._queue.remove(entry)
            entry.place = Place.LEFT
        elif entry.place is not Place.LEFT:
            self._move(entry, Place.LEFT)
            self.calls -= 1
        self._serve_queue()

    def _serve_queue(self) -> None:
        while self._queue and self._take_place(self._queue[0]):
            self._admit(self._queue.popleft())

    def _take_place(self, entry: Entry) -> bool:
        if self.calls >= self._limits.max_calls:
            return False
        if self._fits(self._limits.max_request_bytes):
            self._move(entry, Place.RESERVED, self._limits.max_request_bytes)
        elif self.unreserved < self._limits.unreserved_reads:
            self._move(entry, Place.UNRESERVED)
        else:
            return False
        self.calls += 1
        return True

    def _fits(self, size: int) -> bool:
        return self.bytes + size <= self._limits.max_bytes

    def _move(self, entry: Entry, place: Place, size: int = 0) -> None:
        self.unreserved += (place is Place.UNRESERVED) - (entry.place is Place.UNRESERVED)
        self.bytes += size - entry.size
        entry.place, entry.size = place, size


@dataclass(frozen=True, slots=True)
class Load:
    """How many calls run and how many wait, and how many bytes of their requests are in memory or reserved."""

    running: int
    queued: int
    bytes: int


class Admission:
    """The layer that lets calls in.

    Args:
        limits: How much is taken at once.
        uniform: Random numbers from 0 to 1, which spread the retries of those who are refused together.
    """

    def __init__(self, limits: AdmissionLimits, *, uniform: Callable[[], float] = random.random) -> None:
        self._limits = limits
        self._uniform = uniform
        self._ledger = Ledger(limits, self._admit)
        self._waiting: dict[Entry, asyncio.Future[None]] = {}
        self._turns = asyncio.Semaphore(max(1, limits.max_bytes // limits.max_request_bytes))
        self._closed = False

    @property
    def load(self) -> Load:
        """How full the gateway is."""
        return Load(self._ledger.calls, len(self._ledger.queued), self._ledger.bytes)

    async def layer(self, call: Call, proceed: Callable[[], Awaitable[None]]) -> None:
        """Stand around a call; raise `RefusedError` instead of letting it in."""
        entry = self._ledger.arrive()
        if entry is None:
            raise self._overloaded("The gateway has as many calls as it can serve.")
        try:
            if entry.place is Place.QUEUED:
                await self._wait(entry, call.deadline)
            call.share = _Share(self, entry)
            await proceed()
        finally:
            self._ledger.leave(entry)

    def close(self) -> None:
        """Refuse those who wait, and whoever would have to from now on: other gateways have room."""
        self._closed = True
        for place in self._waiting.values():
            if not place.done():
                place.set_exception(_draining())

    async def receive(self, entry: Entry, read: Read) -> bytes | None:
        """Bring a request into memory; raise `RefusedError` if it does not fit or come soon enough."""
        loop = asyncio.get_running_loop()
        patience = asyncio.timeout(self._limits.request_seconds)
        late = loop.call_later(_UNRESERVED_SECONDS, self._insist_on_reservation, entry, patience)
        try:
            return await self._read(entry, read, patience)
        finally:
            late.cancel()

    async def receive_next(self, entry: Entry, read: Read, *, large: bool) -> bytes | None:
        """Bring the next part of a request into memory, in place of the one before.

        Nothing is reserved while it is waited for, for its caller may take its time. Raises `RefusedError` if it does
        not fit, or does not come at all.
        """
        self._ledger.hold(entry, 0)
        async with self._turn() if large else nullcontext():
            return await self._read(entry, read, asyncio.timeout(self._limits.request_seconds))

    def free(self, entry: Entry) -> None:
        """Note that a request is no longer in memory."""
        self._ledger.free(entry)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Stand around the reading of a part that may be large: few are read at once, or all come before any counts.

        One that is long in coming holds nobody up. Raises `RefusedError` if too many wait.
        """
        try:
            async with asyncio.timeout(self._limits.queue_seconds):
                await self._turns.acquire()
        except TimeoutError:
            raise self._overloaded("The gateway reads as many large requests as it can.") from None
        with ExitStack() as stack:
            stack.callback(self._turns.release)
            late = asyncio.get_running_loop().call_later(_TURN_SECONDS, stack.close)
            try:
                yield
            finally:
                late.cancel()

    async def _read(self, entry: Entry, read: Read, patience: asyncio.Timeout) -> bytes | None:
        try:
            async with patience:
                request = await read()
        except TimeoutError:
            if not patience.expired():
                raise
            raise self._overloaded("The request was too long in coming.") from None
        if not self._ledger.hold(entry, len(request or b"")):
            raise self._overloaded("The gateway has no memory left for a request of this size.")
        return request

    async def _wait(self, entry: Entry, deadline: float | None) -> None:
        if self._closed:
            raise _draining()
        place = self._waiting[entry] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._patience(deadline)):
                await place
        except TimeoutError:
            raise self._overloaded("The gateway has as many calls as it can serve; none ended in time.") from None
        finally:
            del self._waiting[entry]

    def _patience(self, deadline: float | None) -> float:
        if deadline is None:
            return self._limits.queue_seconds
        return min(self._limits.queue_seconds, deadline - time.monotonic() - _MARGIN_SECONDS)

    def _admit(self, entry: Entry) -> None:
        place = self._waiting[entry]
        if not place.done():
            place.set_result(None)

    def _insist_on_reservation(self, entry: Entry, patience: asyncio.Timeout) -> None:
        if not self._ledger.reserve(entry):
            patience.reschedule(0)

    def _overloaded(self, message: str) -> GatewayOverloadedError:
        return GatewayOverloadedError(message, retry_after=0.5 + self._uniform())


class _Share:
    """One call's share of the memory for requests."""

    def __init__(self, admission: Admission, entry: Entry) -> None:
        self._admission = admission
        self._entry = entry
        self._large = False

    async def receive(self, read: Read) -> bytes | None:
        return await self._admission.receive(self._entry, read)

    async def receive_next(self, read: Read) -> bytes | None:
        part = await self._admission.receive_next(self._entry, read, large=self._large)
        self._large = self._large and len(part or b"") > _SMALL_BYTES
        return part

    def expect_large(self) -> None:
        self._large = True

    def free(self) -> None:
        self._admission.free(self._entry)


def _draining() -> DrainingError:
    return DrainingError("The gateway is being stopped.", retry_after=0.1)
