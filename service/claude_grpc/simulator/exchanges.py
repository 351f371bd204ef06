"""What tests look at: every request with its bytes and times, and awaitables for its arrival and its end."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

__all__ = ["Exchange", "ExchangeLog"]


@dataclass(eq=False)
class Exchange:
    """One request and its answer.

    Attributes:
        method: The HTTP method.
        path: The path with its query.
        headers: Lower-case names; a header sent twice has its values joined with a comma.
        request_id: What the answer's ``request-id`` says.
        body: The request body as it came, empty when it was too large or broke off, and of an upload or a batch when
            it is larger than ``SimulatorOptions.kept_body_bytes``.
        received: The bytes of an upload's or a batch's body that were read.
        status: The answer's HTTP status, None before it was sent.
        events_sent: The events of a stream, or pieces of another answer, that were written.
        sent: The bytes of these.
        opened_at: When the request's headers were read, by ``time.monotonic``.
        closed_at: When the answer was written or the client was gone, None before.
        closed_early: Whether the client was gone before the answer was whole.
    """

    method: str
    path: str
    headers: dict[str, str]
    request_id: str
    body: bytes = b""
    received: int = 0
    status: int | None = None
    events_sent: int = 0
    sent: int = 0
    opened_at: float = field(default_factory=time.monotonic)
    closed_at: float | None = None
    closed_early: bool = False
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self, *, early: bool) -> None:
        """Note the end; only the first call counts."""
        if self.closed_at is None:
            self.closed_at, self.closed_early = time.monotonic(), early
            self._ended.set()

    async def wait_closed(self) -> None:
        """Wait for the end."""
        await self._ended.wait()


class ExchangeLog:
    """The last exchanges, in the order in which their requests were read."""

    def __init__(self, history: int) -> None:
        self.exchanges: deque[Exchange] = deque(maxlen=history)
        self.received = 0
        self._arrival = asyncio.Event()

    def add(self, exchange: Exchange) -> None:
        """Add an exchange and wake who waits for it."""
        self.exchanges.append(exchange)
        self.received += 1
        self._arrival.set()
        self._arrival = asyncio.Event()

    async def wait_for(self, count: int) -> Exchange:
        """Wait until so many requests have come, and return the one with that number."""
        while self.received < count:
            await self._arrival.wait()
        return self.exchanges[count - self.received - 1]
