"""What an answer has cost in tokens, as far as upstream has told: plain numbers, added up by nobody but the metrics."""

from __future__ import annotations

from dataclasses import dataclass

from claude_grpc.v1 import messages_pb2

__all__ = ["Usage"]


@dataclass(slots=True)
class Usage:
    """The tokens of one answer.

    Attributes:
        uncached: Input that was neither read from nor written to the cache.
        cache_read: Input that was read from it.
        cache_write: Input that was written to it.
        output: Output, with what was thought.
        reasoning: What of the output was thought.
        service_tier: Which tier served it, empty if upstream did not say.
    """

    uncached: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    service_tier: str = ""

    @property
    def input(self) -> int:
        """All input, as the GenAI conventions count it for Anthropic."""
        return self.uncached + self.cache_read + self.cache_write

    def take(self, told: messages_pb2.Usage) -> None:
        """Take what upstream tells: totals up to now, of which it may leave out some."""
        if told.HasField("input_tokens"):
            self.uncached = told.input_tokens
        if told.HasField("cache_read_input_tokens"):
            self.cache_read = told.cache_read_input_tokens
        if told.HasField("cache_creation_input_tokens"):
            self.cache_write = told.cache_creation_input_tokens
        if told.HasField("output_tokens"):
            self.output = told.output_tokens
        if told.HasField("output_tokens_details"):
            self.reasoning = told.output_tokens_details.thinking_tokens
        if told.HasField("service_tier"):
            self.service_tier = told.service_tier
