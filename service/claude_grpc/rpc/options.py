"""What a caller wants of the gateway for one call: `CallOptions` and `StreamOptions`, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from google.protobuf.duration_pb2 import Duration

from claude_grpc.codec import Violations
from claude_grpc.codec.violations import Path
from claude_grpc.v1.options_pb2 import (
    DISCONNECT_POLICY_CANCEL,
    DISCONNECT_POLICY_FINISH,
    DISCONNECT_POLICY_UNSPECIFIED,
    CallOptions,
)

__all__ = ["Options", "read_options", "read_window", "refuse_for_messages_only"]

_MOST_RETRIES = 10
_MOST_MODELS = 8
_LONGEST_SECONDS = 86_400
_LONGEST_WINDOW = 1.0
_TIMEOUTS = ("connect", "read", "write", "total")
_MODEL = re.compile(r"[A-Za-z0-9._:@/-]{1,256}")
_NAME = "call_options"
_CANCELS = (DISCONNECT_POLICY_UNSPECIFIED, DISCONNECT_POLICY_CANCEL)


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for; what was not is None or absent, and goes by the settings.

    Attributes:
        max_retries: How often an attempt is made again.
        timeouts: Seconds, by the names in ``upstream.Timeouts``.
        total: Seconds for the whole call.
        fallback_models: Instead of those in the settings.
        outlives_caller: Whether the answer is read to its end though the caller is gone.
    """

    max_retries: int | None = None
    timeouts: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    total: float | None = None
    fallback_models: tuple[str, ...] | None = None
    outlives_caller: bool = False


_NOTHING = Options()


def read_options(options: CallOptions, violations: Violations, path: Path = None) -> Options:
    """The options; of use only if no violation was found. ``path`` is that of the message they stand in."""
    if not options.ByteSize():
        return _NOTHING
    here = (path, _NAME)
    if options.HasField("max_retries") and not 0 <= options.max_retries <= _MOST_RETRIES:
        violations.add((here, "max_retries"), f"Must be 0 to {_MOST_RETRIES}.")
    timeouts = _timeouts(options, here, violations)
    total = timeouts.pop("total", None)
    models = tuple(options.fallback_models)
    if len(models) > _MOST_MODELS:
        violations.add((here, "fallback_models"), f"Must be at most {_MOST_MODELS}.")
    for index, model in enumerate(models):
        if not _MODEL.fullmatch(model):
            violations.add(((here, "fallback_models"), index), "Must be the name of a model.")
    if models and options.no_fallback:
        violations.add((here, "no_fallback"), "Set this or `fallback_models`, not both.")
    return Options(
        max_retries=options.max_retries if options.HasField("max_retries") else None,
        timeouts=timeouts,
        total=total,
        fallback_models=models if models or options.no_fallback else None,
        outlives_caller=options.on_disconnect == DISCONNECT_POLICY_FINISH,
    )


def read_window(request: Any, violations: Violations) -> float:
    """Seconds for which the deltas of a stream may be gathered; 0 for not at all."""
    options = getattr(request, "stream_options", None)  # not every method streams
    if options is None or not options.HasField("window"):
        return 0.0
    seconds = _seconds(options.window)
    if not 0 < seconds <= _LONGEST_WINDOW:
        violations.add(((None, "stream_options"), "window"), "Must be longer than zero and at most 1 second.")
    if options.exact_events:
        violations.add(((None, "stream_options"), "window"), "Set this or `exact_events`, not both.")
    return seconds


def refuse_for_messages_only(options: CallOptions, violations: Violations, path: Path = None) -> None:
    """Note what only messages have: models that stand in for others, and answers that are worth reading to nobody.

    What is so anyway may be said: that no model is to stand in, that a vanished caller cancels.
    """
    if options.fallback_models:
        violations.add(((path, _NAME), "fallback_models"), "Is for messages only; leave it out.")
    if options.on_disconnect not in _CANCELS:
        violations.add(((path, _NAME), "on_disconnect"), "Is for messages only; leave it out.")


def _timeouts(options: CallOptions, here: Path, violations: Violations) -> dict[str, float]:
    timeouts = {}
    for name in _TIMEOUTS:
        field_name = f"{name}_timeout"
        if options.HasField(field_name):  # type: ignore[arg-type] # the four are fields
            timeouts[name] = _seconds(getattr(options, field_name))
            if not 0 < timeouts[name] <= _LONGEST_SECONDS:
                violations.add((here, field_name), "Must be longer than zero and at most 24 hours.")
    return timeouts


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
