"""An upstream for many fast answers: it counts, where the simulator understands.

Each answer is a stream of numbered deltas, ``<answer>:0 <answer>:1 …``, so that a reader knows whether any is missing,
came twice, or belongs to somebody else. It takes files, too, and has one to download. What an answer does is up to a
plan.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Literal, Self

__all__ = ["FILE_BYTES", "Answer", "NumberedUpstream", "answer_text"]

FILE_BYTES = 1_000_000

_HEAD = b"HTTP/1.1 200 OK\r\nrequest-id: req_%06d\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n"
_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"%d:%d %b"}}\n\n'
)
_END = (
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":%d}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
_START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_%d","type":"message",'
    b'"role":"assistant","model":"m","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n'
)
_FILE = (
    b'{"id":"file_1","type":"file","filename":"f","mime_type":"text/plain","size_bytes":%d,'
    b'"created_at":"2026-01-01T00:00:00Z","downloadable":true}'
)
_ERROR = b'{"type":"error","error":{"type":"%b","message":"asked for"}}'

_Kind = Literal["message", "stream", "file", "content"]


def answer_text(number: int, deltas: int) -> str:
    """The whole text of an answer."""
    return "".join(f"{number}:{index} " for index in range(deltas))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an answer does.

    Attributes:
        deltas: How many there are.
        padding: Bytes of text in each beside its number.
        before: Seconds before the headers.
        pace: Seconds between two pieces.
        chunks: Sizes of the pieces that are written, at random up to this; None for one piece an event.
        status: HTTP status; 0 for a reset instead of an answer.
        end: What happens after `at` events: ``error`` is an error event, ``cut`` a clean end too early, ``reset`` a
            reset, ``stall`` nothing more.
        at: Events.
    """

    deltas: int = 20
    padding: int = 0
    before: float = 0.0
    pace: float = 0.0
    chunks: int | None = None
    status: int = 200
    end: Literal["error", "cut", "reset", "stall"] | None = None
    at: int = 0


class NumberedUpstream:
    """Listens on a free port of loopback for as long as the ``async with`` lasts.

    Args:
        plan: The answer to a request, by its number from 0.
        seed: Of the sizes of pieces.

    Attributes:
        requests: How many have come.
        running: How many are being read or answered.
        whole: Answers that were written to their end.
        sent: Pieces of streams that were written.
    """

    def __init__(self, plan: Callable[[int], Answer] = lambda _: Answer(), seed: int = 0) -> None:
        self.plan = plan
        self.requests = 0
        self.running = 0
        self.whole = 0
        self.sent = 0
        self._random = random.Random(seed)
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1024 * 1024, backlog=4096)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        # Not cancelled, for asyncio would take that for an error of ours.
        for writer in self._connections.values():
            writer.transport.abort()
        await asyncio.gather(*self._connections)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()
        return host, port

    @property
    def connections(self) -> int:
        """Connections that are open, idle ones too."""
        return len(self._connections)

    async def rest(self) -> None:
        """Wait until no request is being answered."""
        while self.running:
            await asyncio.sleep(0.02)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        # One byte is read ahead, for a client that leaves shows in nothing else.
        ahead = asyncio.ensure_future(reader.read(1))
        try:
            while first := await ahead:
                self.running += 1
                try:
                    kind = await _read_request(first, reader)
                    ahead = asyncio.ensure_future(reader.read(1))
                    self.requests += 1
                    await self._answer(self.requests - 1, kind, ahead, writer)
                finally:
                    self.running -= 1
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            ahead.cancel()
            del self._connections[task]
            writer.transport.abort()

    async def _answer(
        self, number: int, kind: _Kind, ahead: asyncio.Future[bytes], writer: asyncio.StreamWriter
    ) -> None:
        answering = asyncio.ensure_future(self._write(number, kind, writer))
        try:
            await asyncio.wait([answering, ahead], return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() and not await ahead:
                raise ConnectionError("the client is gone")
            await answering
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    async def _write(self, number: int, kind: _Kind, writer: asyncio.StreamWriter) -> None:
        answer = self.plan(number)
        await asyncio.sleep(answer.before)
        if not answer.status:
            raise ConnectionError("asked for")
        if answer.status != 200:
            await _write_body(writer, b"%d error" % answer.status, _ERROR % b"overloaded_error", number)
        elif kind == "stream":
            writer.write(_HEAD % (number, b"text/event-stream"))
            await self._write_pieces(_events(number, answer), answer, writer)
        elif kind == "content":
            writer.write(_HEAD % (number, b"text/plain"))
            await self._write_pieces((b"x" * 10_000 for _ in range(FILE_BYTES // 10_000)), answer, writer)
        elif kind == "file":
            await _write_body(writer, b"200 OK", _FILE % FILE_BYTES, number)
        else:
            text = answer_text(number, answer.deltas).encode()
            body = (
                b'{"id":"msg_%d","type":"message","role":"assistant","model":"m",'
                b'"content":[{"type":"text","text":"%b"}],"stop_reason":"end_turn","usage":{"output_tokens":%d}}'
            )
            await _write_body(writer, b"200 OK", body % (number, text, answer.deltas), number)
        self.whole += 1

    async def _write_pieces(self, events: Iterable[bytes], answer: Answer, writer: asyncio.StreamWriter) -> None:
        for piece in self._pieces(islice(events, answer.at if answer.end else None), answer.chunks):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            self.sent += 1
            if answer.chunks or answer.pace:
                await asyncio.sleep(answer.pace)
        if answer.end:
            await _end(answer.end, writer)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    def _pieces(self, events: Iterable[bytes], most: int | None) -> Iterator[bytes]:
        if most is None:
            yield from events
            return
        waiting, size = b"", self._random.randint(1, most)
        for event in events:
            waiting += event
            while len(waiting) >= size:
                yield waiting[:size]
                waiting, size = waiting[size:], self._random.randint(1, most)
        if waiting:
            yield waiting


def _events(number: int, answer: Answer) -> Iterator[bytes]:
    yield _START % number
    for index in range(answer.deltas):
        yield _DELTA % (number, index, b"x" * answer.padding)
    yield _END % answer.deltas


async def _end(end: str, writer: asyncio.StreamWriter) -> None:
    match end:
        case "error":
            event = b"event: error\ndata: " + _ERROR % b"overloaded_error" + b"\n\n"
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        case "reset":
            await writer.drain()
            writer.transport.abort()
            raise ConnectionError("asked for")
        case "stall":
            await writer.drain()
            await asyncio.Event().wait()
        case _:
            pass


async def _write_body(writer: asyncio.StreamWriter, status: bytes, body: bytes, number: int) -> None:
    head = b"HTTP/1.1 %b\r\nrequest-id: req_%06d\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % (status, number, len(body)) + body)
    await writer.drain()


async def _read_request(first: bytes, reader: asyncio.StreamReader) -> _Kind:
    """Read a request whose first byte is known; what it wants."""
    head = (first + await reader.readuntil(b"\r\n\r\n")).lower()
    target = head.split(b" ", 2)[1]
    begin = await (_read_chunks(reader) if b"\r\ntransfer-encoding: chunked" in head else _read_body(head, reader))
    if target.startswith(b"/v1/files"):
        return "content" if target.endswith(b"/content") else "file"
    # It is the first of all members.
    return "stream" if begin.startswith(b'{"stream":true') else "message"


async def _read_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    """Read what the head announces; its beginning."""
    left = sum(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    begin = b""
    while left:
        piece = await reader.read(min(left, 64 * 1024))
        if not piece:
            raise ConnectionError("the client is gone")
        begin += piece[: max(64 - len(begin), 0)]
        left -= len(piece)
    return begin


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await reader.readexactly(size + 2)
    return await reader.readuntil(b"\r\n")
