"""What callers saw, and whether that may be: the record of each call, and the rules it is held against.

The rules are those of the promise. OK means that the answer is whole. Whatever else ends a call, what came before is
its beginning: nothing lost, nothing twice, nothing out of order, nothing of another's answer. The end has a code that
the table knows, and says truly whether a retry is safe.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from claude_grpc.v1.messages_pb2 import StreamMessageResponse

__all__ = ["History", "Record", "record_call"]

_PIECE = re.compile(r"(\d+):(\d+) ")
# Ends of calls on which both sides keep to the contract; the reasons are those of the status table. A connection to the
# gateway that breaks has no reason: then nobody is there to give one.
_REASONS: dict[grpc.StatusCode, set[str]] = {
    grpc.StatusCode.UNAVAILABLE: {
        "",
        "BREAKER_OPEN",
        "DRAINING",
        "GATEWAY_OVERLOADED",
        "OVERLOADED",
        "STREAM_INTERRUPTED",
        "UPSTREAM_TIMEOUT",
        "UPSTREAM_UNAVAILABLE",
    },
    grpc.StatusCode.DEADLINE_EXCEEDED: {"", "DEADLINE_EXCEEDED"},
}
# With these a caller ends its call itself, and that may overtake what the gateway says.
_CALLERS = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
_ANY = set[str]().union(*_REASONS.values())


@dataclass(kw_only=True)
class Record:
    """One call, as its caller saw it.

    Attributes:
        text: All text that came.
        answer: Id of the message, empty if none came.
        kinds: Types of the events, runs of deltas as one; of a unary call none.
        code: How it ended.
        reason: The gateway's word for that, empty without.
        facts: The metadata of the gateway's ErrorInfo.
        cancelled: Whether the caller cancelled it.
    """

    text: str = ""
    answer: str = ""
    kinds: list[str] = field(default_factory=list)
    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN
    reason: str = ""
    details: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    cancelled: bool = False

    @property
    def streamed(self) -> bool:
        """Whether events came."""
        return bool(self.kinds)

    def add(self, event: StreamMessageResponse) -> None:
        """Note an event."""
        if not self.kinds or self.kinds[-1] != event.type:
            self.kinds.append(event.type)
        self.text += event.content_block_delta.delta.text_delta.text
        self.answer = event.message_start.message.id or self.answer

    def faults(self, deltas: int, lost: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> list[str]:
        """What must not be, for an answer of so many deltas, where streams that are lost on their way end as `lost`."""
        found = [*self._faults_of_text(), *self._faults_of_end(lost)]
        if self.code is grpc.StatusCode.OK:
            pieces = len(_PIECE.findall(self.text))
            if pieces != deltas:
                found.append(f"OK with {pieces} of {deltas} deltas")
            if self.streamed and (self.kinds[0], self.kinds[-1]) != ("message_start", "message_stop"):
                found.append(f"OK with {self.kinds}")
        elif "message_stop" in self.kinds and not self._was_lost():
            found.append(f"{self.code} after message_stop")
        return found

    def _faults_of_text(self) -> list[str]:
        pieces = _PIECE.findall(self.text)
        found = []
        if "".join(f"{answer}:{index} " for answer, index in pieces) != self.text:
            found.append("text that is no sequence")
        if [int(index) for _, index in pieces] != list(range(len(pieces))):
            found.append("deltas lost, twice or out of order")
        if {answer for answer, _ in pieces} - {self.answer.removeprefix("msg_")}:
            found.append("deltas of another answer")
        if self.kinds.count("message_start") > 1:
            found.append("an answer that begins twice")
        return found

    def _faults_of_end(self, lost: grpc.StatusCode) -> list[str]:
        if self.code is grpc.StatusCode.OK:
            return []
        found: list[str] = []
        if self.streamed and not self.reason and self.code is lost:
            return found
        if self.reason not in (_ANY if self.code in _CALLERS else _REASONS.get(self.code, set())):
            found.append(f"{self.code.name} {self.reason or 'without a reason'}: {self.details}")
        if self.facts:
            if self.facts.get("partial") not in self._truths():
                found.append(f"partial={self.facts.get('partial')} after {len(self.kinds)} events")
            if self.facts.get("safeToRetry") == "true" and self.streamed:
                found.append("safe to retry although events came")
        return found

    def _truths(self) -> set[str]:
        """What `partial` may be; of a call that its caller ended, the events may have been on their way."""
        if self.streamed:
            return {"true"}
        return {"true", "false"} if self.code in _CALLERS else {"false"}

    def _was_lost(self) -> bool:
        return self.cancelled or not self.reason


class History:
    """All calls of a run.

    Args:
        deltas: Of each answer.
        lost: How streams end that are lost between the gateway and the caller.
    """

    def __init__(self, deltas: int, lost: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        self.records: list[Record] = []
        self._deltas = deltas
        self._lost = lost

    def check(self) -> None:
        """Fail if there is a call that must not be."""
        faults = [(record, found) for record in self.records if (found := record.faults(self._deltas, self._lost))]
        told = "\n".join(f"{found}: {record}"[:500] for record, found in faults[:10])
        assert not faults, f"{len(faults)} of {len(self.records)} calls must not be:\n{told}"

    def count(self, code: grpc.StatusCode) -> int:
        """How many ended so."""
        return sum(record.code is code for record in self.records)

    @property
    def deltas(self) -> int:
        """All deltas that came."""
        return sum(len(_PIECE.findall(record.text)) for record in self.records)


async def record_call(call: Any, *, cancel_after: float | None = None) -> Record:
    """Read a call to its end, or cancel it in the middle; never raises."""
    record = Record()
    loop = asyncio.get_running_loop()
    timer = None if cancel_after is None else loop.call_later(cancel_after, call.cancel)
    try:
        if hasattr(call, "__aiter__"):
            async for event in call:
                record.add(event)
        else:
            answer = await call
            record.answer, record.text = answer.message.id, answer.message.content[0].text.text
    except grpc.aio.AioRpcError:
        pass  # the status tells
    except asyncio.CancelledError:
        record.cancelled = True
    if timer is not None:
        timer.cancel()
    record.code = await call.code()
    record.details = await call.details() or ""
    trailers = dict(await call.trailing_metadata() or ())
    info = error_details_pb2.ErrorInfo()
    status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
    if any(detail.Unpack(info) for detail in status.details):
        record.reason, record.facts = info.reason, dict(info.metadata)
    return record
