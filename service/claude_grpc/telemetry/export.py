"""What the standard ``OTEL_*`` settings ask for, and its end: where traces and metrics go, if anywhere.

Nothing set is nothing exported: then the SDK is not even imported.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from claude_grpc.config import ConfigurationError
from claude_grpc.telemetry.meter import Meter
from claude_grpc.telemetry.span import Tracer

__all__ = ["CLOSE_SECONDS", "Export", "open_export"]

CLOSE_SECONDS: Final = 2.0
"""How long a gateway that stops waits for its last spans and metrics to be taken; with all else it stops within 3 s."""

_CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CAPTURES: Final = {
    "": False,
    "false": False,
    "no_content": False,
    "true": True,
    "span_only": True,
    "span_and_event": True,
}

_HEADERS: Final = tuple(f"OTEL_EXPORTER_OTLP_{signal}HEADERS" for signal in ("", "TRACES_", "METRICS_"))
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=(?P<value>[ !#-+\--:<-\[\]-~]*)")
_VALUE: Final = re.compile(r"[ -~]*")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Export:
    """Where telemetry goes.

    Attributes:
        tracer: None if traces go nowhere.
        meter: None if metrics go nowhere.
        captures_content: Whether prompts and answers are to stand on spans.
        propagates: Whether callers' traces go on here, and go on from here.
        closers: Send what is left, and stop; they may block.
    """

    tracer: Tracer | None = None
    meter: Meter | None = None
    captures_content: bool = False
    propagates: bool = True
    closers: tuple[Callable[[], object], ...] = field(default=(), repr=False)

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Send what is left, for so long at most, off the event loop."""
        loop = asyncio.get_running_loop()
        ends = [asyncio.Event() for _ in self.closers]
        for close, end in zip(self.closers, ends, strict=True):
            # A daemon: neither we nor the interpreter wait for a collector that does not answer.
            threading.Thread(target=_close, args=(close, loop, end), daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for end in ends:
                    await end.wait()


def open_export(environ: Mapping[str, str], version: str) -> Export:
    """What the environment asks for.

    Raises:
        ConfigurationError: It asks for what there is not.
    """
    captures_content = _captures_content(environ)
    propagates = "tracecontext" in (environ.get("OTEL_PROPAGATORS") or "tracecontext")
    traces, metrics = _exporters("TRACES", environ), _exporters("METRICS", environ)
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or not (traces or metrics):
        return Export(propagates=propagates)
    # Here, because it takes time and memory that nobody shall pay who exports nothing.
    from claude_grpc.telemetry.sdk import setup  # noqa: PLC0415

    _check_headers(environ)
    try:
        resource = setup.make_resource(environ, version)
        tracer, close_traces = setup.open_traces(traces, resource, environ, version) if traces else (None, [])
        meter, close_metrics = setup.open_metrics(metrics, resource, environ, version) if metrics else (None, [])
    except ConfigurationError:
        raise
    except Exception as error:
        # The SDK raises what it likes. Of what it may quote only headers are secret, and those are as they must be.
        raise ConfigurationError(f"OTEL_*: the OpenTelemetry SDK cannot work with these settings: {error}") from error
    _log.info("Telemetry", extra={"traces": ",".join(traces), "metrics": ",".join(metrics)})
    return Export(tracer, meter, captures_content, propagates, (*close_traces, *close_metrics))


def _exporters(signal: str, environ: Mapping[str, str]) -> list[str]:
    named = environ.get(f"OTEL_{signal}_EXPORTER", "")
    if named.strip():
        return [name for name in (part.strip() for part in named.split(",")) if name not in {"", "none"}]
    # By the letter of the specification it is OTLP to localhost; here somebody must have asked for it.
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return ["otlp"] if any(environ.get(endpoint) for endpoint in endpoints) else []


def _check_headers(environ: Mapping[str, str]) -> None:
    """Refuse headers that cannot be sent: the SDK and its exporters would quote them in the log, again and again."""
    for name in _HEADERS:
        for number, item in enumerate(environ.get(name, "").split(","), start=1):
            pair = _HEADER.fullmatch(item.strip())
            if item.strip() and not (pair and _VALUE.fullmatch(unquote(pair["value"]).strip())):
                raise ConfigurationError(f"{name}: header {number} must be key=value, the value encoded as in a URL")


def _captures_content(environ: Mapping[str, str]) -> bool:
    try:
        return _CAPTURES[environ.get(_CAPTURE, "").strip().lower()]
    except KeyError:
        raise ConfigurationError(f"{_CAPTURE}: must be one of {', '.join(filter(None, _CAPTURES))}") from None


def _close(close: Callable[[], object], loop: asyncio.AbstractEventLoop, end: asyncio.Event) -> None:
    try:
        close()
    except Exception:  # noqa: BLE001 # whatever it is, the gateway stops
        _log.exception("Telemetry could not be closed")
    # If this took too long, the loop is gone.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(end.set)
