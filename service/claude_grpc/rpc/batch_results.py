"""The results of a batch: a line of JSON becomes a typed result, and its error what a call would have ended with."""

from __future__ import annotations

import json
from typing import Final

from google.rpc import status_pb2

from claude_grpc.codec import Decoder
from claude_grpc.errors import UpstreamContext
from claude_grpc.rpc.status import status_of
from claude_grpc.upstream import api_error
from claude_grpc.v1.batches_pb2 import MessageBatch, StreamMessageBatchResultsResponse

__all__ = ["RESULT", "count_results", "read_result"]

RESULT: Final = Decoder(StreamMessageBatchResultsResponse)


def read_result(index: int, line: bytes) -> StreamMessageBatchResultsResponse:
    """The result that stands in the line of that index; raises `UpstreamProtocolError` for what is no JSON object."""
    response = RESULT.decode(line)
    response.index = index
    if response.result.HasField("errored"):
        errored = response.result.errored
        errored.status.CopyFrom(_status(errored.error_json or "{}"))
    return response


def count_results(batch: MessageBatch) -> int:
    """How many results a batch that has ended has, one for each of its requests."""
    counts = batch.request_counts
    return counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired


def _status(error_json: str) -> status_pb2.Status:
    request_id = json.loads(error_json).get("request_id")
    context = UpstreamContext(request_id=request_id if isinstance(request_id, str) else "")
    encoded = status_of(api_error(200, error_json.encode(), context)).trailers["grpc-status-details-bin"]
    status: status_pb2.Status = status_pb2.Status.FromString(encoded)
    return status
