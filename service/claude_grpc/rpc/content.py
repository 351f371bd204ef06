"""A file's content on its way in: that each chunk stands where it should, and that the whole is what was told."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final

import google_crc32c

from claude_grpc.codec import Violations
from claude_grpc.codec.newer import refuse_newer_fields
from claude_grpc.errors import RequestTooLargeError
from claude_grpc.rpc.parts import refuse
from claude_grpc.v1.files_pb2 import FileChunk

__all__ = ["MAX_CHUNK_BYTES", "ContentCheck", "make_chunk"]

MAX_CHUNK_BYTES: Final = 1024 * 1024

# Smaller pieces are hashed on the loop: the way to a thread and back costs more.
_LARGE: Final = 64 * 1024


def make_chunk(offset: int, data: bytes) -> FileChunk:
    """A chunk with its checksum."""
    return FileChunk(offset=offset, data=data, crc32c=google_crc32c.value(data))


class ContentCheck:
    """Takes the chunks of one file in order; raises `RequestError` for what is wrong.

    Args:
        field: Path of the file in the request.
        size: Bytes that it is told to have, if they are told.
        sha256: Hash that it is told to have; empty if it is not told.
        limit: Most bytes that it may have.
    """

    def __init__(self, field: str, *, size: int | None, sha256: bytes, limit: int) -> None:
        self.size = 0
        self._field = field
        self._told_size = size
        self._told_hash = sha256
        self._limit = limit
        self._hash = hashlib.sha256()
        if size is not None and size < 0:
            raise refuse(f"{field}.size_bytes", "Must not be negative.")
        if size is not None and size > limit:
            raise RequestTooLargeError(size, limit, field=f"{field}.size_bytes")
        if sha256 and len(sha256) != self._hash.digest_size:
            raise refuse(f"{field}.sha256", f"Must be {self._hash.digest_size} bytes, not {len(sha256)}.")

    async def take(self, chunk: FileChunk) -> bytes:
        """Check one more chunk, and return its data."""
        violations = Violations()
        refuse_newer_fields(chunk, (None, "chunk"), violations)
        violations.raise_if_any()
        data = chunk.data
        if chunk.offset != self.size:
            raise refuse("chunk.offset", f"Must be {self.size}, where the chunk before ended, not {chunk.offset}.")
        if len(data) > MAX_CHUNK_BYTES:
            raise refuse("chunk.data", f"Must be at most {MAX_CHUNK_BYTES} bytes, not {len(data)}.")
        if chunk.HasField("crc32c") and google_crc32c.value(data) != chunk.crc32c:
            raise refuse("chunk.crc32c", f"Is not that of the data at {self.size}, which was changed on its way.")
        self.size += len(data)
        if self._told_size is not None and self.size > self._told_size:
            raise refuse(f"{self._field}.size_bytes", f"The content has more than these {self._told_size} bytes.")
        if self.size > self._limit:
            raise RequestTooLargeError(self.size, self._limit, field="chunk")
        if self._told_hash:
            await self._add_to_hash(data)
        return data

    def finish(self) -> None:
        """Check that the whole has come."""
        if self._told_size is not None and self.size != self._told_size:
            raise refuse(f"{self._field}.size_bytes", f"The content ended after {self.size} bytes.")
        if self._told_hash and self._hash.digest() != self._told_hash:
            raise refuse(f"{self._field}.sha256", "Is not that of the content, which was changed on its way.")

    async def _add_to_hash(self, data: bytes) -> None:
        if len(data) > _LARGE:
            await asyncio.to_thread(self._hash.update, data)
        else:
            self._hash.update(data)
