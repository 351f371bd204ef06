"""A batch on its way in: its items checked and encoded one by one, into a body that is sent when all are there."""

from __future__ import annotations

from functools import partial
from hashlib import blake2b
from typing import Final

from claude_grpc.codec import Encoder, Violations
from claude_grpc.errors import RequestTooLargeError
from claude_grpc.rpc.large import LARGE_BYTES, encode_large, give_way
from claude_grpc.rpc.parts import Parts, extra_members, refuse
from claude_grpc.upstream import Spool, StreamedBody
from claude_grpc.v1.batches_pb2 import MessageBatchItem

__all__ = ["BatchBody"]

_ENCODER: Final = Encoder(MessageBatchItem.DESCRIPTOR, pause=give_way)
_START: Final = b'{"requests":['


class BatchBody:
    """Takes the items of one batch in order; raises `RequestError` with the path of what is wrong.

    Args:
        spool: Takes the body.
        extra_json: Members of the body beside its requests, as text of a JSON object, or nothing.
        max_requests: Most items.
        max_bytes: Most bytes of the body.
    """

    def __init__(self, spool: Spool, extra_json: str, *, max_requests: int, max_bytes: int) -> None:
        self._spool = spool
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._count = 0
        # Hashes, for ids can be long, and many; by each the place of its item.
        self._places: dict[bytes, int] = {}
        more = extra_json.strip()[1:-1] if extra_members(extra_json, {"requests"}) else ""
        self._end = (f"],{more}}}" if more else "]}").encode()

    async def fill(self, parts: Parts) -> None:
        """Take all items."""
        async for _, item in parts:
            text = await self._encode(item)
            # Each is given up as soon as it can be: it may have 30 MB, and the next one may take its time.
            del item
            await self._write(text)
            del text

    async def finish(self) -> StreamedBody:
        """The whole body."""
        await self._spool.write(b"" if self._count else _START, self._end)
        return await self._spool.body()

    async def _encode(self, item: MessageBatchItem) -> bytes:
        field = f"items[{self._count}]"
        if self._count == self._max_requests:
            raise RequestTooLargeError(self._count + 1, self._max_requests, field=field, unit="requests")
        violations = Violations()
        encode = partial(_ENCODER.encode, item, violations, path=field)
        text = await encode_large(encode) if item.ByteSize() > LARGE_BYTES else encode()
        violations.raise_if_any()
        self._check_id(item.custom_id, field)
        return text

    def _check_id(self, custom_id: str, field: str) -> None:
        place = self._places.setdefault(blake2b(custom_id.encode(), digest_size=16).digest(), self._count)
        if place != self._count:
            raise refuse(f"{field}.custom_id", f"Is that of items[{place}], too; each must be unlike all others.")

    async def _write(self, text: bytes) -> None:
        before = b"," if self._count else _START
        size = self._spool.size + len(before) + len(text) + len(self._end)
        if size > self._max_bytes:
            raise RequestTooLargeError(size, self._max_bytes, field=f"items[{self._count}]")
        await self._spool.write(before, text)
        self._count += 1
