"""Server-sent events: bytes of a streamed answer in, events out.

``EventStream`` feeds what each network read brought. The decoder does no I/O and knows nothing of Claude: the names of
events and the JSON in their data are for the layers above.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from claude_grpc.errors import UpstreamProtocolError

__all__ = ["SSEDecoder", "ServerSentEvent"]

_BOM: Final = b"\xef\xbb\xbf"
_CR: Final = 0x0D
_LF: Final = 0x0A


@dataclass(slots=True)
class ServerSentEvent:
    """One event: its ``event:`` name, empty if it had none, and its ``data:`` lines joined by LF, valid UTF-8."""

    event: str
    data: bytes


class SSEDecoder:
    """Decodes one stream, fed in pieces of any size.

    Lines end in LF, CRLF or CR. Comments, ``id``, ``retry`` and unknown fields are ignored, and so are events without
    data. An event that is not UTF-8, or has more than ``max_event_bytes``, fails the stream: events before it in the
    same piece are still returned, ``failure`` is set, and every later call raises it.
    """

    def __init__(self, *, max_event_bytes: int = 64 * 1024 * 1024) -> None:
        self.failure: UpstreamProtocolError | None = None
        self._max_event_bytes = max_event_bytes
        self._start: bytes | None = b""  # the stream's first bytes, while they may be a byte order mark
        self._after_cr = False  # the last piece ended in CR, so an LF that opens the next one belongs to it
        self._pending = bytearray()  # an event whose blank line has not come yet; its lines end in LF

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that ``chunk`` completes; raise ``UpstreamProtocolError`` if the first is invalid."""
        if self.failure is not None:
            raise self.failure
        if self._start is not None:
            chunk = self._without_bom(chunk)
        if self._after_cr or _CR in chunk:
            chunk = self._with_lf(chunk)
        pending = self._pending
        if pending and chunk:
            # Only new bytes are searched: an event that arrives in many pieces costs time linear in its size.
            ended = b"\n\n" in chunk or (chunk[0] == _LF and pending[-1] == _LF)
            pending += chunk
            if not ended:
                return self._decode(())
            chunk = bytes(pending)
            pending.clear()
        *blocks, rest = chunk.split(b"\n\n")
        pending += rest
        return self._decode(blocks)

    def end(self) -> list[ServerSentEvent]:
        """Return the last event if the stream ended before the blank line after it; raise as ``feed`` does."""
        if self.failure is not None:
            raise self.failure
        last = bytes(self._pending).removesuffix(b"\n")
        self._pending.clear()
        return self._decode((last,))

    def _decode(self, blocks: Iterable[bytes]) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        try:
            for block in blocks:
                self._check_size(len(block))
                name, data = _fields(block)
                if data:
                    events.append(ServerSentEvent(name, data))
            # The last pending byte may be the first half of the blank line, which is not the event's.
            self._check_size(len(self._pending) - 1)
        except UpstreamProtocolError as failure:
            self.failure = failure
            self._pending.clear()
            if not events:
                raise
        return events

    def _check_size(self, size: int) -> None:
        if size > self._max_event_bytes:
            raise UpstreamProtocolError(f"The event stream holds an event of over {self._max_event_bytes} bytes.")

    def _without_bom(self, chunk: bytes) -> bytes:
        start = (self._start or b"") + chunk
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(_BOM)

    def _with_lf(self, chunk: bytes) -> bytes:
        if not chunk:
            return chunk
        ends_in_cr = chunk.endswith(b"\r")
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = ends_in_cr
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _fields(block: bytes) -> tuple[str, bytes]:
    line_end = block.find(b"\n")
    # Claude's events are these two lines; going line by line would say the same of them, at three times the price.
    if block.startswith(b"event: ") and block.startswith(b"data: ", line_end + 1) and line_end == block.rfind(b"\n"):
        name, data = block[7:line_end], block[line_end + 7 :]
    else:
        name, data = _fields_by_line(block)
    try:
        if not data.isascii():
            data.decode()
        return name.decode(), data
    except UnicodeDecodeError as error:
        raise UpstreamProtocolError("The event stream holds an event that is not UTF-8.") from error


def _fields_by_line(block: bytes) -> tuple[bytes, bytes]:
    name = b""
    data = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return name, b"\n".join(data)
