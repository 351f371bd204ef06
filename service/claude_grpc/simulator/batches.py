"""The resource ``messages/batches``: create, retrieve, list, cancel, delete, and the results line by line.

A batch does nothing by itself. It moves on when it is asked for, by the clock, or by a test's word; see
``SimulatorOptions``. Its results are made while they are read, so that a large batch costs its body and little more.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiohttp import web

from .batch_items import Check, Item, judge, read_items, result_line
from .batch_state import Batch
from .calls import PATIENCE, Call, Routes
from .clock import Clock
from .errors import ApiError
from .headers import Caller
from .options import SimulatorOptions
from .paging import check_query, page_by_id
from .raw_json import RawJson
from .store import Quota, Store, make_id

__all__ = ["Batches"]

_JSON_LINES = "application/x-jsonl"


class Batches:
    """Holds the batches."""

    def __init__(self, options: SimulatorOptions, clock: Clock, quota: Quota, check: Check) -> None:
        self._options = options
        self._clock = clock
        self._quota = quota
        self._check = check
        self._batches: Store[Batch] = Store("Message Batch {} not found.", options.max_objects)

    @property
    def routes(self) -> Routes:
        """The requests that are answered here."""
        batch = "/v1/messages/batches/{message_batch_id}"
        return {
            "POST /v1/messages/batches": self._create,
            "GET /v1/messages/batches": self._list,
            f"GET {batch}": self._retrieve,
            f"DELETE {batch}": self._delete,
            f"POST {batch}/cancel": self._cancel,
            f"GET {batch}/results": self._results,
        }

    def advance(self, fraction: float) -> None:
        """Do a part of the work of each batch."""
        for batch in self._batches:
            batch.refresh(self._clock.now())
            batch.move(fraction, self._clock.now())

    async def _create(self, call: Call) -> web.StreamResponse:
        check_query(call.query)
        with self._quota.reserve() as space:
            body = bytearray()
            async for chunk in call.body.chunks(self._options.max_batch_bytes):
                space.take(len(chunk))
                body += chunk
            items = read_items(body, self._options.max_batch_requests)
            fates, errors = await self._judge(items, call.caller)
            number = next(self._batches.numbers)
            batch = Batch(
                id=make_id("msgbatch", number),
                number=number,
                caller=call.caller,
                items=items,
                fates=fates,
                errors=errors,
                size=space.size,
                seed=self._options.seed,
                created_at=self._clock.now(),
                seconds=self._options.batch_seconds,
            )
            self._batches.add(batch)
            space.keep()
        return await call.send(self._show(batch, call))

    async def _judge(self, items: list[Item], caller: Caller) -> tuple[bytes, dict[int, RawJson]]:
        fates, errors, since = bytearray(), {}, time.monotonic()
        for index, item in enumerate(items):
            fate, error = judge(item, caller, self._check)
            fates.append(fate)
            if error is not None:
                errors[index] = error
            if time.monotonic() - since > PATIENCE:
                await asyncio.sleep(0)
                since = time.monotonic()
        return bytes(fates), errors

    async def _retrieve(self, call: Call, name: str) -> web.StreamResponse:
        check_query(call.query)
        batch = self._find(name)
        if self._options.batch_seconds:
            batch.move(0, self._clock.now())
        elif self._options.batch_polls:
            batch.move(1 / self._options.batch_polls, self._clock.now())
        waits = batch.ended_at is None and self._options.batch_retry_after
        headers = {"retry-after": str(self._options.batch_retry_after)} if waits else {}
        return await call.send(self._show(batch, call), headers)

    async def _list(self, call: Call) -> web.StreamResponse:
        check_query(call.query, "before_id", "after_id", "limit")
        batches = self._batches.newest_first()
        return await call.send(page_by_id(call.query, batches, lambda batch: self._show(batch, call)))

    async def _cancel(self, call: Call, name: str) -> web.StreamResponse:
        check_query(call.query)
        batch = self._find(name)
        if batch.ended_at is not None:
            raise ApiError(400, f"Message Batch {batch.id} has already ended and cannot be canceled.")
        batch.cancel(self._clock.now())
        return await call.send(self._show(batch, call))

    async def _delete(self, call: Call, name: str) -> web.StreamResponse:
        check_query(call.query)
        batch = self._find(name)
        if batch.ended_at is None:
            raise ApiError(400, "In progress batches cannot be deleted. Consider canceling the batch instead.")
        self._batches.remove(batch)
        self._quota.give(batch.size)
        return await call.send({"id": batch.id, "type": "message_batch_deleted"})

    async def _results(self, call: Call, name: str) -> web.StreamResponse:
        check_query(call.query)
        batch = self._find(name)
        if batch.ended_at is None or batch.archived_at is not None:
            raise ApiError(404, f"Message Batch {batch.id} has no available results.")
        key = self._options.signing_key
        lines = (result_line(item, fate, error, key) for item, fate, error in batch.results())
        return await call.send_lines(lines, _JSON_LINES)

    def _find(self, name: str) -> Batch:
        batch = self._batches.find(name)
        batch.refresh(self._clock.now())
        return batch

    def _show(self, batch: Batch, call: Call) -> dict[str, Any]:
        batch.refresh(self._clock.now())
        host = self._options.results_host or str(call.request.url.origin())
        return batch.show(f"{host}/v1/messages/batches/{batch.id}/results")
