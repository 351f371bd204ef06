"""JSON lines: bytes of a streamed answer in, lines out.

The decoder does no I/O and does not look into the JSON: what a line means is for the layers above.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from claude_grpc.errors import UpstreamProtocolError

__all__ = ["JSONLDecoder"]

_BOM: Final = b"\xef\xbb\xbf"


class JSONLDecoder:
    """Decodes one stream, fed in pieces of any size.

    Lines end in LF, CRLF or CR, and the last one need not end. Blank lines are left out. A line that is not UTF-8, or
    has more than ``max_line_bytes``, fails the stream: lines before it in the same piece are still returned,
    ``failure`` is set, and every later call raises it.
    """

    def __init__(self, *, max_line_bytes: int = 64 * 1024 * 1024) -> None:
        self.failure: UpstreamProtocolError | None = None
        self._max_line_bytes = max_line_bytes
        self._pending = bytearray()  # a line that has not ended yet
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that ``chunk`` completes; raise ``UpstreamProtocolError`` if the first is invalid."""
        if self.failure is not None:
            raise self.failure
        # CRLF is then an end of line and a blank line, in whatever pieces it comes.
        chunk = chunk.replace(b"\r", b"\n")
        ended = b"\n" in chunk
        # Only new bytes are searched: a line that arrives in many pieces costs time linear in its size.
        self._pending += chunk
        if not ended:
            return self._checked(())
        *lines, rest = bytes(self._pending).split(b"\n")
        self._pending[:] = rest
        return self._checked(lines)

    def end(self) -> list[bytes]:
        """Return the last line if the stream ended without an end of line; raise as ``feed`` does."""
        if self.failure is not None:
            raise self.failure
        last = bytes(self._pending)
        self._pending.clear()
        return self._checked((last,))

    def _checked(self, lines: Iterable[bytes]) -> list[bytes]:
        checked: list[bytes] = []
        try:
            for line in lines:
                content = line.removeprefix(_BOM) if self._at_start else line
                self._at_start = False
                self._check_size(line)
                if content and not content.isspace():
                    checked.append(_utf8(content))
            self._check_size(self._pending)
        except UpstreamProtocolError as failure:
            self.failure = failure
            self._pending.clear()
            if not checked:
                raise
        return checked

    def _check_size(self, line: bytes | bytearray) -> None:
        if len(line) > self._max_line_bytes:
            raise UpstreamProtocolError(f"The answer holds a line of over {self._max_line_bytes} bytes.")


def _utf8(line: bytes) -> bytes:
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise UpstreamProtocolError("The answer holds a line that is not UTF-8.") from error
    return line
