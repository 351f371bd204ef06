"""A span, the trace it belongs to, and how both travel between processes: the W3C trace context.

Written by one task, with plain values, and read by exporters once it has ended. Knows nothing of what it is about.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from random import getrandbits
from typing import Final

__all__ = [
    "CLIENT", "NO_SPAN", "SERVER", "Attributes", "Current", "Shape", "Span", "Trace", "Tracer", "callers_span",
    "current_span", "traceparent",
]  # fmt: skip

Attributes = dict[str, str | bool | int | float | Sequence[str]]

# The kinds of spans, by OTLP's numbers.
_INTERNAL: Final = 1
SERVER: Final = 2
CLIENT: Final = 3

_FLAGS: Final = 3
_MOST_MEMBERS: Final = 32
_LONGEST_STATE: Final = 512
_MEMBER: Final = re.compile(
    r"(?P<key>[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)
_TRACEPARENT: Final = re.compile(r"\s*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\s*", re.ASCII)


class Shape:
    """What many spans have in common, made once for all of them.

    Attributes:
        name: Of the span.
        kind: ``SERVER`` or ``CLIENT``.
        attributes: Those that are known when it starts.
        written: All of it as an exporter writes it, once one has.
    """

    __slots__ = ("attributes", "kind", "name", "written")

    def __init__(self, name: str, kind: int, attributes: Attributes) -> None:
        self.name = name
        self.kind = kind
        self.attributes = attributes
        self.written: bytes | None = None


class Trace:
    """What all spans of a trace have in common: its id, its flags, and the vendors' state as in the header."""

    __slots__ = ("flags", "id", "state")

    def __init__(self, trace_id: int, flags: int, state: str = "") -> None:
        self.id = trace_id
        self.flags = flags
        self.state = state


class Span:
    """One operation.

    Attributes:
        id: Its own.
        parent_id: Of the span above it, 0 for none.
        is_remote: Whether the span above it is in another process.
        attributes: Beside those of its shape.
        events: Each with its name, its attributes and its time.
        links: Spans of other traces that it has to do with.
        failed: Whether it ended with an error.
        started: In nanoseconds since 1970.
        ended: Likewise.

    Args:
        shape: What it has in common with others.
        trace: The one it belongs to.
        parent_id: Of the span above it.
        keep: Takes it when it has ended; None if it is not recorded.
        is_remote: Whether the span above it is in another process.
        span_id: Its own; a random one by default.
    """

    __slots__ = (
        "_keep", "attributes", "ended", "events", "failed", "id", "is_remote", "links", "parent_id", "shape",
        "started", "trace",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917 # made often, and never but here and in tracers
        self,
        shape: Shape,
        trace: Trace,
        parent_id: int = 0,
        keep: Callable[[Span], object] | None = None,
        is_remote: bool = False,
        span_id: int = 0,
    ) -> None:
        self.shape = shape
        self.trace = trace
        self.id = span_id or getrandbits(64) or 1
        self.parent_id = parent_id
        self.is_remote = is_remote
        self.attributes: Attributes = {}
        self.events: Sequence[tuple[str, Attributes, int]] = ()
        self.links: Sequence[Span] = ()
        self.failed = False
        self.ended = 0
        self._keep = keep
        self.started = time.time_ns()

    @property
    def is_recording(self) -> bool:
        """Whether anybody will read it."""
        return self._keep is not None

    def child(self, shape: Shape) -> Span:
        """A span below this one that starts now; itself, if it is not recorded: there is nothing to tell apart."""
        return self if self._keep is None else Span(shape, self.trace, self.id, self._keep)

    def add_event(self, name: str, attributes: Attributes) -> None:
        """Note that something happens."""
        if self._keep is not None:
            self.events = (*self.events, (name, attributes, time.time_ns()))

    def end(self, *, failed: bool = False) -> None:
        """Note that it is over; only the first end counts."""
        if self._keep is not None:
            self.failed = failed
            self.ended = time.time_ns()
            keep, self._keep = self._keep, None
            keep(self)


NO_SPAN: Final = Span(Shape("", _INTERNAL, {}), Trace(0, 0))
"""Stands for none: it is in no trace."""

_current: ContextVar[Span] = ContextVar("claude_grpc_span", default=NO_SPAN)
current_span = _current.get
"""The span whose ids the log's lines have."""


class Current:
    """A context in which a span is the current one."""

    __slots__ = ("_before", "_span")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> None:
        self._before = _current.get()
        _current.set(self._span)

    def __exit__(self, *_: object) -> None:
        # No token: the end of a call may be in another context than its start.
        _current.set(self._before)


class Tracer:
    """Starts traces. This one records nothing; of a caller's trace it lets logs and upstream know."""

    def start(self, shape: Shape, caller: Span = NO_SPAN, links: Sequence[Span] = ()) -> Span:  # noqa: ARG002
        """A span at the top of what this process tells of a trace, below the caller's if that is known."""
        return caller


def callers_span(metadata: Mapping[str, str]) -> Span:
    """The span of a caller that names it, and names it right; else none."""
    header = metadata.get("traceparent")
    found = _TRACEPARENT.fullmatch(header) if header else None
    if found is None:
        return NO_SPAN
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return NO_SPAN
    trace = Trace(int(trace_id, 16), int(flags, 16) & _FLAGS, _vendors_state(metadata.get("tracestate", "")))
    return Span(NO_SPAN.shape, trace, span_id=int(span_id, 16))


def _vendors_state(header: str) -> str:
    """A caller's ``tracestate``, if it is one, and not too long to go with every span; else nothing."""
    if not header or len(header) > _LONGEST_STATE:
        return ""
    members = [_MEMBER.fullmatch(member) for each in header.split(",") if (member := each.strip(" \t"))]
    keys = {member["key"] for member in members if member}
    return header if len(keys) == len(members) <= _MOST_MEMBERS else ""


def traceparent(span: Span) -> dict[str, str]:
    """What tells another process of a span: the W3C header, without the vendors' state and the caller's baggage."""
    trace = span.trace
    return {"traceparent": f"00-{trace.id:032x}-{span.id:016x}-{trace.flags:02x}"} if trace.id else {}
