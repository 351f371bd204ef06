"""Failures and oddities on demand: the language they are asked for in, and what they do to events.

A directive stands in the text of the last user turn, in double brackets, and is taken out before the simulator answers:
``[[cut at=5]]``. A program without a say in the text hands the same words to ``Simulator.script``, without brackets.
Several may be combined. Brackets around anything else are plain text.

``at=K`` counts the events of a stream: K events are sent, then it happens (default 3; at the end, if that comes first).
On an answer that does not stream, ``at=0`` is before the body and all else in the middle of it.

Instead of an answer:

- ``error STATUS``: an error answer. ``retry-after=SECONDS``, ``retry-after-ms=N``, ``should-retry=true|false`` set the
  headers, ``type=T`` the ``error.type``; ``times=N`` lets the same request through after N failures; ``html`` sends a
  page, as a proxy would.
- ``slow-headers [SECONDS]``: wait before the response headers; without a number, until the client is gone.

Ends of an answer:

- ``error-event [TYPE] [at=K]``: an ``error`` event (``overloaded_error``); without streaming, the error's own status.
- ``cut [at=K]``: the body ends cleanly, too early.
- ``truncate [at=K]``: the connection closes in the middle of an event, without the end of the chunked body.
- ``reset [at=K]``: the connection is reset (RST).
- ``stall [at=K]``: nothing more is sent until the client is gone.
- ``bad-json [at=K]``: the JSON of event K is cut in half; a stream goes on after it.

Things nobody has heard of yet, with JSON in the same spellings:

- ``unknown-block``, ``unknown-delta``, ``unknown-stop-reason``, ``unknown-event [at=K]``
- ``extra-field``: a field ``future_field`` in the message, its usage, each block, each delta and each event.

The answer itself:

- ``answer NAME, …``: the answer also holds what is named, blocks in this order. Tools that the API runs itself, each a
  call and its result: ``web_search``, ``web_search_empty``, ``web_search_error``, ``web_search_from_code``,
  ``web_fetch``, ``web_fetch_pdf``, ``web_fetch_error``, ``code_execution``, ``code_execution_encrypted``,
  ``code_execution_error``, ``bash``, ``bash_error``, ``editor_view``, ``editor_create``, ``editor_str_replace``,
  ``editor_error``, ``tool_search``, ``tool_search_error``, ``advisor``, ``advisor_redacted``, ``advisor_error``,
  ``mcp``, ``mcp_error``. Other blocks: ``mcp_listing``, ``container_upload``, ``compaction``, ``fallback``, and
  ``citations``, a text with one of each kind. Why it ended: ``refusal``, ``pause_turn``, ``window_exceeded``,
  ``pause_after_compaction``. About the message: ``container``, ``context_management``, ``diagnostics``,
  ``input_transformations``, ``usage``.
- ``redacted-thinking``: a ``redacted_thinking`` block.
- ``tool-input [JSON]``: the input of each tool call, sent to the byte as written here (``]]`` ends it); by default JSON
  in every spelling that re-encoding would damage.
- ``repeat N``: the answer's text N times over. ``pace SECONDS``: this stream's delta interval.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from .errors import ApiError, error_object, error_type
from .raw_json import ODD_JSON, encode
from .shapes import FUTURE_FIELD

__all__ = ["Directive", "Directives", "Event", "RawAnswer", "distort", "find_directives", "read_script", "refusal"]

_NAMES = (
    "answer|bad-json|cut|error|error-event|extra-field|pace|redacted-thinking|repeat|reset|slow-headers|stall|tool-input"
    "|truncate|unknown-block|unknown-delta|unknown-event|unknown-stop-reason"
)
_BRACKETS = re.compile(rf"\[\[({_NAMES})(?:\s+(.*?))?\s*\]\]", re.DOTALL)
_NUMBER = re.compile(r"\d{1,9}(\.\d+)?")
_DEFAULT_AT = 3


class Event(NamedTuple):
    """One event of a stream: its name, and its data as JSON text."""

    name: str
    data: str


@dataclass(frozen=True)
class RawAnswer:
    """An answer to send as it is, for what no directive can say; each chunk is one write.

    Given to ``Simulator.script`` it stands for the whole answer, whatever the request was.
    """

    chunks: tuple[bytes, ...]
    status: int = 200
    content_type: str = "text/event-stream; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Directive:
    """One directive: its name, and what stands after it."""

    name: str
    text: str = ""

    def word(self, default: str = "") -> str:
        """Return the first word that is not ``key=value``."""
        return next((word for word in self.text.split() if "=" not in word), default)

    def option(self, key: str) -> str | None:
        """Return the value of ``key=value``, None when it is not there."""
        pairs = (word.partition("=") for word in self.text.split())
        return next((value for name, sign, value in pairs if sign and name == key), None)

    @property
    def at(self) -> int:
        """How many events are sent before it happens."""
        return int(self.number(self.option("at"), _DEFAULT_AT))

    @property
    def amount(self) -> float:
        """The number in first place, 0 when there is none."""
        return self.number(self.word(), 0)

    def number(self, text: str | None, default: float) -> float:
        """Read a number; a directive that cannot be read is the client's mistake."""
        if not text:
            return default
        if not _NUMBER.fullmatch(text):
            raise ApiError(400, f"[[{self.name} {self.text}]]: `{text}` is not a number")
        return float(text)


Directives = Mapping[str, Directive]


def find_directives(text: str) -> tuple[Directives, str]:
    """Return the directives in a text, and the text without them."""
    found = {match[1]: Directive(match[1], match[2] or "") for match in _BRACKETS.finditer(text)}
    return found, _BRACKETS.sub("", text).strip()


def read_script(line: str) -> Directives:
    """Read the directives of a script's entry; a single one may stand without its brackets.

    Raises:
        ValueError: there is something else in it.
    """
    directives, rest = find_directives(line if "[[" in line or not line else f"[[{line}]]")
    if rest:
        raise ValueError(f"{rest!r} is no directive; there are {_NAMES.replace('|', ', ')}")
    return directives


def refusal(error: Directive) -> ApiError | RawAnswer:
    """Return what an ``error`` directive asks for."""
    status = int(error.amount) or 500
    if status // 100 not in (4, 5):
        raise ApiError(400, f"[[error {error.text}]]: {status} is no error")
    headers = {name: value for name in ("retry-after", "retry-after-ms") if (value := error.option(name))}
    if should_retry := error.option("should-retry"):
        headers["x-should-retry"] = should_retry
    if "html" in error.text.split():
        return RawAnswer((b"<html><body>Bad gateway</body></html>",), status, "text/html", headers)
    kind = error.option("type") or error_type(status)
    message = "Overloaded" if kind == "overloaded_error" else f"The simulator was asked to fail: {error.text}"
    return ApiError(status, message, type=kind, headers=headers)


def distort(events: Iterator[Event], directives: Directives, request_id: str) -> Iterator[Event]:
    """Do to the events of a stream what the directives ask for, endings of the connection left out."""
    if strange := directives.get("unknown-event"):
        data = encode({"type": "future_event", FUTURE_FIELD: ODD_JSON})
        events = _insert(events, strange.at, Event("future_event", data))
    if broken := directives.get("bad-json"):
        events = _break_json(events, broken.at)
    if failure := directives.get("error-event"):
        kind = failure.word("overloaded_error")
        message = "Overloaded" if kind == "overloaded_error" else "The simulator was asked to fail"
        events = _end_with(events, failure.at, Event("error", encode(error_object(kind, message, request_id))))
    return events


def _insert(events: Iterator[Event], at: int, event: Event) -> Iterator[Event]:
    yield from islice(events, at)
    yield event
    yield from events


def _end_with(events: Iterator[Event], at: int, event: Event) -> Iterator[Event]:
    yield from islice(events, at)
    yield event


def _break_json(events: Iterator[Event], at: int) -> Iterator[Event]:
    for number, event in enumerate(events):
        yield event._replace(data=event.data[: len(event.data) // 2]) if number == at else event
