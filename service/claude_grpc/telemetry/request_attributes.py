"""What a span tells of a request: the parameters that shape an answer, and nothing of the conversation."""

from __future__ import annotations

from claude_grpc.telemetry import names
from claude_grpc.telemetry.span import Attributes
from claude_grpc.v1 import messages_pb2

__all__ = ["request_attributes"]


def request_attributes(params: messages_pb2.MessageParams) -> Attributes:
    """The attributes of a model call's parameters."""
    attributes: Attributes = {}
    if params.HasField("max_tokens"):
        attributes[names.REQUEST_MAX_TOKENS] = params.max_tokens
    if params.HasField("temperature"):
        attributes[names.REQUEST_TEMPERATURE] = params.temperature
    if params.HasField("top_k"):
        attributes[names.REQUEST_TOP_K] = params.top_k
    if params.HasField("top_p"):
        attributes[names.REQUEST_TOP_P] = params.top_p
    if params.HasField("output_config") and params.output_config.HasField("effort"):
        attributes[names.REQUEST_REASONING_LEVEL] = params.output_config.effort
    return attributes
