"""Message batches from a thread: made of many requests, watched until they end, their results read to the last.

A connection that breaks is taken up again where it broke, as long as something comes through it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import grpc

from claude_grpc.v1 import batches_pb2, batches_pb2_grpc
from claude_grpc.v1.options_pb2 import CallOptions
from claude_grpc_client.calls import Caller
from claude_grpc_client.channel import DEFAULT_TIMEOUT
from claude_grpc_client.errors import ClaudeError

__all__ = ["Batches"]


class Batches(Caller):
    """The message batches behind a gateway. Errors are raised as ``ClaudeError``.

    Args:
        channel: To the gateway; not closed here.
        timeout: Deadline of a call in seconds; None for the service config's, as for watching.
        call_options: How the gateway handles each call; None for its settings.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        call_options: CallOptions | None = None,
    ) -> None:
        self._stub = batches_pb2_grpc.BatchesServiceStub(channel)
        super().__init__(timeout, call_options)

    def create(
        self, items: Iterable[batches_pb2.MessageBatchItem], header: batches_pb2.CreateMessageBatchHeader | None = None
    ) -> batches_pb2.MessageBatch:
        """Make a batch of the items, which are sent as they are drawn; an error in drawing them makes none."""
        sent = batches_pb2.CreateMessageBatchHeader(call_options=self._call_options)
        sent.MergeFrom(header or batches_pb2.CreateMessageBatchHeader())
        parts = _Parts(items, sent)
        try:
            return self._ask(self._stub.CreateMessageBatch, iter(parts)).batch
        except ClaudeError:
            if parts.failure is not None:
                raise parts.failure from None
            raise

    def get(self, batch_id: str) -> batches_pb2.MessageBatch:
        """The batch as it is now."""
        return self._ask(
            self._stub.GetMessageBatch,
            batches_pb2.GetMessageBatchRequest(batch_id=batch_id, call_options=self._call_options),
        ).batch

    def cancel(self, batch_id: str) -> batches_pb2.MessageBatch:
        """Ask that what has not begun be left."""
        return self._ask(
            self._stub.CancelMessageBatch,
            batches_pb2.CancelMessageBatchRequest(batch_id=batch_id, call_options=self._call_options),
        ).batch

    def delete(self, batch_id: str) -> None:
        """Delete an ended batch and its results."""
        self._ask(
            self._stub.DeleteMessageBatch,
            batches_pb2.DeleteMessageBatchRequest(batch_id=batch_id, call_options=self._call_options),
        )

    def list(self) -> Iterator[batches_pb2.MessageBatch]:
        """All batches, the newest first."""
        request = batches_pb2.ListMessageBatchesRequest(call_options=self._call_options)
        while True:
            page = self._ask(self._stub.ListMessageBatches, request)
            yield from page.batches
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def watch(self, batch_id: str) -> Iterator[batches_pb2.MessageBatch]:
        """The batch as it is now, and then whenever it changes, until it has ended."""
        request = batches_pb2.WatchMessageBatchRequest(batch_id=batch_id, call_options=self._call_options)
        for response in self._read_on(lambda: self._stub.WatchMessageBatch(request)):
            yield response.batch

    def results(self, batch_id: str, start_index: int = 0) -> Iterator[batches_pb2.StreamMessageBatchResultsResponse]:
        """The results from ``start_index`` on, each once, also if the connection breaks meanwhile."""
        request = batches_pb2.StreamMessageBatchResultsRequest(
            batch_id=batch_id, start_index=start_index, call_options=self._call_options
        )
        for result in self._read_on(lambda: self._stub.StreamMessageBatchResults(request, timeout=self._timeout)):
            request.start_index = result.index + 1
            yield result


class _Parts:
    """The parts of a batch. gRPC draws them in a thread of its own and tells nobody why it could not: this does."""

    def __init__(
        self, items: Iterable[batches_pb2.MessageBatchItem], header: batches_pb2.CreateMessageBatchHeader
    ) -> None:
        self._items = items
        self._header = header
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[batches_pb2.CreateMessageBatchRequest]:
        yield batches_pb2.CreateMessageBatchRequest(header=self._header)
        try:
            for item in self._items:
                yield batches_pb2.CreateMessageBatchRequest(item=item)
        except Exception as error:
            self.failure = error
            raise
