"""Models from a thread: which there are, and what they can do."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from claude_grpc.v1 import models_pb2, models_pb2_grpc
from claude_grpc.v1.options_pb2 import CallOptions
from claude_grpc_client.calls import Caller
from claude_grpc_client.channel import DEFAULT_TIMEOUT

__all__ = ["Models"]


class Models(Caller):
    """The models behind a gateway. Errors are raised as ``ClaudeError``.

    Args:
        channel: To the gateway; not closed here.
        timeout: Deadline of a call in seconds; None for the service config's.
        call_options: How the gateway handles each call; None for its settings.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        call_options: CallOptions | None = None,
    ) -> None:
        self._stub = models_pb2_grpc.ModelsServiceStub(channel)
        super().__init__(timeout, call_options)

    def get(self, model_id: str) -> models_pb2.ModelInfo:
        """What is known of a model."""
        request = models_pb2.GetModelRequest(model_id=model_id, call_options=self._call_options)
        return self._ask(self._stub.GetModel, request).model

    def list(self) -> Iterator[models_pb2.ModelInfo]:
        """All models, the newest first."""
        request = models_pb2.ListModelsRequest(call_options=self._call_options)
        while True:
            page = self._ask(self._stub.ListModels, request)
            yield from page.models
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
