"""Who reads instruments. This one reads none; the one of ``sdk`` has them read, now and then, and exported."""

from __future__ import annotations

from collections.abc import Callable

from claude_grpc.telemetry.histogram import Histogram
from claude_grpc.telemetry.tally import Reading

__all__ = ["Meter"]


class Meter:
    """Is told of each instrument by name, once."""

    def counter(self, name: str, description: str, unit: str, read: Callable[[], Reading]) -> None:
        """Something that only grows."""

    def level(self, name: str, description: str, unit: str, read: Callable[[], Reading]) -> None:
        """Something that grows and shrinks, and can be added up over processes."""

    def gauge(self, name: str, description: str, unit: str, read: Callable[[], Reading]) -> None:
        """Something that is now so and now so."""

    def histogram(self, name: str, description: str, histogram: Histogram) -> Histogram:  # noqa: ARG002
        """Durations in seconds; return the one to record in."""
        return histogram
