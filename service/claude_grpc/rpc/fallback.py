"""Other models for a call whose own is overloaded: who is asked, and when.

Stands around what sends a request and returns once its answer has begun, so that no model takes over after that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

from claude_grpc.errors import BreakerOpenError, UpstreamContext, UpstreamError
from claude_grpc.rpc.options import Options
from claude_grpc.upstream import UpstreamRequest, is_overload, outcome_of

__all__ = ["FallbackPolicy", "ask_in_turn"]

T = TypeVar("T")

_ANY = "*"


@dataclass(frozen=True, slots=True)
class FallbackPolicy:
    """Which models stand in for which.

    Attributes:
        models: By model, the ones that stand in for it, in order; those under ``*`` for models that are not there.
    """

    models: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))

    def fallbacks(self, model: str, options: Options) -> list[str]:
        """The models to be asked after ``model``, in order; none for a request that names no model."""
        wanted = options.fallback_models
        if wanted is None:
            wanted = tuple(self.models.get(model, self.models.get(_ANY, ())))
        return [other for other in dict.fromkeys(wanted) if model and other != model]


async def ask_in_turn(
    request: UpstreamRequest,
    fallbacks: Sequence[str],
    send: Callable[[UpstreamRequest], Awaitable[T]],
    encode: Callable[[str], Awaitable[bytes]],
) -> T:
    """Send the request, and while that fails for overload, to one model after the other.

    Args:
        request: For the first model.
        fallbacks: The other models.
        send: Returns when the answer has begun; raises the error of the last model that was asked.
        encode: Makes the body for a model.
    """
    for model in fallbacks:
        try:
            return await send(request)
        except UpstreamError as error:
            earlier = _earlier(error)
            if earlier is None:
                raise
        # One body at a time is in memory: each may have 30 MB, and in an overload there are many calls.
        request = replace(request, model=model, body=b"", earlier=earlier)
        request = replace(request, body=await encode(model))
    return await send(request)


def _earlier(error: UpstreamError) -> UpstreamContext | None:
    """What was tried so far, if another model may be asked now."""
    context = error.context
    if isinstance(error, BreakerOpenError):
        return replace(context, fallback="breaker_open")
    if is_overload(error):
        return replace(context, fallback="overloaded", retries=(*context.retries, outcome_of(error).word))
    return None
