"""``claude_grpc.v1.ModelsService``."""

from __future__ import annotations

from claude_grpc.codec import Decoder
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.fetch import Fetch, Resource
from claude_grpc.v1 import models_pb2

__all__ = ["ModelsServicer"]

_GET = Resource("GET", "/v1/models/{model_id}", Decoder(models_pb2.ModelInfo))
_LIST = Resource("GET", "/v1/models", Decoder(models_pb2.ListModelsResponse), {"lifecycles": "lifecycle[]"})


class ModelsServicer:
    """Which models there are, and what they can do."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def get_model(self, request: models_pb2.GetModelRequest, call: Call) -> models_pb2.GetModelResponse:
        """One model."""
        return models_pb2.GetModelResponse(model=await self._fetch.send(_GET, request, call))

    async def list_models(self, request: models_pb2.ListModelsRequest, call: Call) -> models_pb2.ListModelsResponse:
        """A page of models."""
        return await self._fetch.list(_LIST, request, call)
