"""Where a gateway's telemetry goes, in one value that is handed to whoever records."""

from __future__ import annotations

from dataclasses import dataclass

from claude_grpc.telemetry.content import ContentCapture
from claude_grpc.telemetry.metrics import Metrics
from claude_grpc.telemetry.spans import Spans

__all__ = ["Recorders"]


@dataclass(frozen=True, slots=True)
class Recorders:
    """Spans, metrics, and how prompts and answers are captured: None for not at all."""

    spans: Spans
    metrics: Metrics
    content: ContentCapture | None = None
