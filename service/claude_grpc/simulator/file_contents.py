"""What a file is: its name made safe, its content in the pieces it came in, or made up anew for a size alone."""

from __future__ import annotations

import hashlib
import mimetypes
import random
import re
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from .errors import ApiError
from .store import Reservation, Stored

__all__ = ["Content", "StoredFile", "clean_name", "generated_content", "read_content"]

_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')
_MOST_NAME = 500
_BLOCK = 64 * 1024


@dataclass(frozen=True)
class Content:
    """Bytes with their size and digest; ``pieces`` is None when they were not kept."""

    size: int
    sha256: str
    pieces: tuple[bytes, ...] | None

    @classmethod
    def of(cls, content: bytes | int) -> Content:
        """Return the content that these bytes are, or the generated one of this size, which is not kept."""
        pieces = (content,) if isinstance(content, bytes) else None
        size = len(content) if isinstance(content, bytes) else content
        digest = hashlib.sha256()
        for piece in pieces or generated_content(size):
            digest.update(piece)
        return cls(size, digest.hexdigest(), pieces)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.pieces) if self.pieces is not None else generated_content(self.size)

    @property
    def kept(self) -> int:
        """The bytes that it holds in memory."""
        return 0 if self.pieces is None else self.size


@dataclass(eq=False, kw_only=True)
class StoredFile(Stored):
    """A file with what the API tells about it; times in seconds since the epoch."""

    filename: str
    mime_type: str
    created_at: float
    content: Content
    downloadable: bool = False
    expires_at: float | None = None


def generated_content(size: int) -> Iterator[bytes]:
    """Yield so many bytes, always the same: noise, with the number of each block of 64 KiB at its start."""
    noise = random.Random(0).randbytes(_BLOCK - 8)  # noqa: S311
    for index in range(-(-size // _BLOCK)):
        yield (struct.pack(">Q", index) + noise)[: size - index * _BLOCK]


async def read_content(chunks: AsyncIterator[bytes], space: Reservation, *, most: int, most_kept: int) -> Content:
    """Read a content without a second copy; of one larger than ``most_kept``, only the size and digest stay.

    Raises:
        ApiError: 413, it is larger than ``most``; 400, the quota has no room for it.
    """
    pieces: list[bytes] | None = []
    digest, size = hashlib.sha256(), 0
    async for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise ApiError(413, "File exceeds the maximum size")
        digest.update(chunk)
        if size > most_kept:
            pieces = None
            space.give()
        if pieces is not None:
            space.take(len(chunk))
            pieces.append(chunk)
    return Content(size, digest.hexdigest(), None if pieces is None else tuple(pieces))


def clean_name(sent: str | None, mime_type: str) -> str:
    """Return the name that a file gets: the last component of a path, or one made from the type.

    Raises:
        ApiError: 400, the name holds what no name may.
    """
    name = re.split(r"[/\\]", sent or "")[-1]
    if not name:
        return "unnamed" + (mimetypes.guess_extension(mime_type) or "")
    if len(name) > _MOST_NAME:
        raise ApiError(400, f"Invalid filename: it is longer than {_MOST_NAME} characters")
    if _FORBIDDEN.search(name) or name in (".", ".."):
        raise ApiError(400, "Invalid filename: it contains forbidden characters")
    return name
