"""Content on its way out: upstream's bytes as chunks with their offsets and checksums, whole or not OK."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

from claude_grpc.errors import OutOfRangeError, StreamInterruptedError, UpstreamProtocolError
from claude_grpc.rpc.content import MAX_CHUNK_BYTES, make_chunk
from claude_grpc.upstream import ByteStream
from claude_grpc.v1.files_pb2 import FileChunk

__all__ = ["chunks", "told_size"]

_PARTIAL: Final = 206
_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")


def told_size(stream: ByteStream) -> int | None:
    """Bytes of the body, if upstream tells them."""
    text = stream.response.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None


async def chunks(stream: ByteStream, *, offset: int = 0, size: int | None = None) -> AsyncGenerator[FileChunk, None]:
    """The content from ``offset`` on, in order and without gaps; what stands before it has gone to the caller.

    Args:
        stream: The content, from ``offset`` on if upstream has heeded that, else from its beginning.
        offset: Where to begin.
        size: Bytes of the whole content, if they are known.

    Raises:
        OutOfRangeError: It begins beyond the end.
        StreamInterruptedError: It ended before its end.
    """
    stream.context = replace(stream.context, partial=True)
    at = _begins_at(stream)
    async for read in stream:
        for piece in read:
            skipped = min(max(offset - at, 0), len(piece))
            for start in range(skipped, len(piece), MAX_CHUNK_BYTES):
                yield make_chunk(at + start, piece[start : start + MAX_CHUNK_BYTES])
            at += len(piece)
    if size is not None and at != size:
        raise StreamInterruptedError(f"The content ended after {at} of {size} bytes.", stream.context)
    if at < offset:
        raise OutOfRangeError("offset", at)


def _begins_at(stream: ByteStream) -> int:
    if stream.response.status != _PARTIAL:
        return 0
    found = _RANGE.fullmatch(stream.response.headers.get("content-range", ""))
    if found is None:
        raise UpstreamProtocolError("Upstream does not tell which part of the content it sent.", stream.context)
    return int(found[1])
