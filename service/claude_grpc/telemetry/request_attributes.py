"""What a span tells of a request: the parameters that shape an answer, and nothing of the conversation."""

from __future__ import annotations

import re
from typing import Final

from claude_grpc.telemetry import names
from claude_grpc.telemetry.span import Attributes
from claude_grpc.v1 import messages_pb2

__all__ = ["request_attributes"]

# The API's own words for levels and tiers; what else a caller writes there is not told.
_WORD: Final = re.compile(r"[a-z][a-z_]{0,31}")


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
        attributes[names.REQUEST_REASONING_LEVEL] = _word(params.output_config.effort)
    if params.HasField("service_tier"):
        attributes[names.ANTHROPIC_REQUEST_SERVICE_TIER] = _word(params.service_tier)
    if params.HasField("thinking"):
        attributes |= _thinking(params.thinking)
    return attributes


def _thinking(thinking: messages_pb2.ThinkingConfig) -> Attributes:
    kind = thinking.WhichOneof("config")
    told = names.OTHER if kind is None or kind == "opaque_json" else kind
    attributes: Attributes = {names.ANTHROPIC_THINKING_TYPE: told}
    if kind == "enabled":
        attributes[names.ANTHROPIC_THINKING_BUDGET] = thinking.enabled.budget_tokens
    return attributes


def _word(value: str) -> str:
    return value if _WORD.fullmatch(value) else names.OTHER
