"""``claude_grpc.v1.BatchesService``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from dataclasses import replace

from claude_grpc.codec import Decoder
from claude_grpc.errors import OutOfRangeError, StreamInterruptedError, UpstreamError
from claude_grpc.rpc.batch_body import BatchBody
from claude_grpc.rpc.batch_results import RESULT, count_results, read_result
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.deadline import ended_at
from claude_grpc.rpc.downloads import told_size
from claude_grpc.rpc.fetch import Fetch, Resource
from claude_grpc.rpc.parts import Parts, refuse
from claude_grpc.rpc.watches import State, Watches
from claude_grpc.telemetry.calls import CallTelemetry
from claude_grpc.upstream import Spool
from claude_grpc.v1 import batches_pb2

__all__ = ["BatchesServicer"]

_BATCHES, _ONE = "/v1/messages/batches", "/v1/messages/batches/{batch_id}"

_BATCH = Decoder(batches_pb2.MessageBatch)
_CREATE = Resource("POST", _BATCHES, _BATCH)
_GET = Resource("GET", _ONE, _BATCH)
_LIST = Resource("GET", _BATCHES, Decoder(batches_pb2.ListMessageBatchesResponse))
_CANCEL = Resource("POST", f"{_ONE}/cancel", _BATCH)
_DELETE = Resource("DELETE", _ONE, Decoder(batches_pb2.DeleteMessageBatchResponse))
# Not the batch's `results_url`: the key goes to the host that was set, and to no other.
_RESULTS = Resource("GET", f"{_ONE}/results", RESULT)


# What telemetry calls a poll, which is for all who watch.
_POLL = "get_message_batch"


class BatchesServicer:
    """Many requests at once.

    Args:
        fetch: The way to upstream.
        max_requests: A batch of more is refused.
        max_bytes: A batch whose body is larger is refused.
        watches: Who watches which batch.
    """

    def __init__(self, fetch: Fetch, *, max_requests: int, max_bytes: int, watches: Watches | None = None) -> None:
        self._fetch = fetch
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._watches = watches or Watches()

    async def create_message_batch(
        self, requests: AsyncIterator[batches_pb2.CreateMessageBatchRequest], call: Call
    ) -> batches_pb2.CreateMessageBatchResponse:
        """A new batch, sent when all of it is there and in order."""
        parts = Parts(requests)
        header: batches_pb2.CreateMessageBatchHeader = await parts.header()
        prepared = self._fetch.prepare(_CREATE, header, call, part="header")
        call.share.expect_large()
        async with Spool() as spool:
            body = BatchBody(spool, header.extra_json, max_requests=self._max_requests, max_bytes=self._max_bytes)
            async with ended_at(prepared.deadline):
                await body.fill(parts)
            batch = await self._fetch.upload(_CREATE, prepared, await body.finish(), "application/json", call)
        return batches_pb2.CreateMessageBatchResponse(batch=batch)

    async def get_message_batch(
        self, request: batches_pb2.GetMessageBatchRequest, call: Call
    ) -> batches_pb2.GetMessageBatchResponse:
        """A batch as it stands."""
        return batches_pb2.GetMessageBatchResponse(batch=await self._fetch.send(_GET, request, call))

    async def list_message_batches(
        self, request: batches_pb2.ListMessageBatchesRequest, call: Call
    ) -> batches_pb2.ListMessageBatchesResponse:
        """A page of batches."""
        return await self._fetch.list(_LIST, request, call)

    async def watch_message_batch(
        self, request: batches_pb2.WatchMessageBatchRequest, call: Call
    ) -> AsyncIterator[batches_pb2.WatchMessageBatchResponse]:
        """A batch as it stands, and whenever it has changed."""
        prepared, options = self._fetch.prepare(_GET, request, call), request.call_options
        # Not the call's deadline: the poll is for all who watch, and ends with the last of them.
        seconds = options.total_timeout.ToTimedelta().total_seconds() if options.HasField("total_timeout") else None

        async def poll(watchers: Collection[CallTelemetry]) -> State:
            asked = replace(prepared, deadline=None if seconds is None else time.monotonic() + seconds)
            return await self._fetch.deliver(_GET, asked, call.telemetry.polls_upstream(_POLL, watchers))

        key = prepared.path, tuple(sorted(prepared.headers.items())), options.SerializeToString(deterministic=True)
        async with aclosing(self._watches.watch(key, poll, call.telemetry)) as states:
            async for batch, context in states:
                call.answered(context)
                yield batches_pb2.WatchMessageBatchResponse(batch=batch)

    async def cancel_message_batch(
        self, request: batches_pb2.CancelMessageBatchRequest, call: Call
    ) -> batches_pb2.CancelMessageBatchResponse:
        """A batch that ends early."""
        return batches_pb2.CancelMessageBatchResponse(batch=await self._fetch.send(_CANCEL, request, call))

    async def delete_message_batch(
        self, request: batches_pb2.DeleteMessageBatchRequest, call: Call
    ) -> batches_pb2.DeleteMessageBatchResponse:
        """A batch is no more."""
        return await self._fetch.send(_DELETE, request, call)

    async def stream_message_batch_results(
        self, request: batches_pb2.StreamMessageBatchResultsRequest, call: Call
    ) -> AsyncIterator[batches_pb2.StreamMessageBatchResultsResponse]:
        """The results, each as soon as its line is there."""
        start, index = request.start_index, 0
        if start < 0:
            raise refuse("start_index", "Must not be negative.")
        async with self._fetch.lines(_RESULTS, request, call) as stream:
            async for lines in stream:
                for line in lines:
                    if index >= start:
                        result = read_result(index, line)
                        if not stream.context.partial:
                            stream.context = replace(stream.context, partial=True)
                        yield result
                    index += 1
            if told_size(stream) is None:
                await self._check_count(index, request, call)
        if index < start:
            raise OutOfRangeError("start_index", index)

    async def _check_count(self, count: int, request: batches_pb2.StreamMessageBatchResultsRequest, call: Call) -> None:
        """Raise `StreamInterruptedError` unless the batch has so many results.

        Without its length a body that was cut short can look like a whole one; the batch itself knows better.
        """
        try:
            batch = await self._fetch.ask(_GET, request, call)
        except UpstreamError as error:
            raise StreamInterruptedError("Upstream did not tell whether these are all results.") from error
        if count < (expected := count_results(batch)):
            raise StreamInterruptedError(f"The results ended after {count} of {expected}.")
