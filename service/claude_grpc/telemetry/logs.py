"""The log: one JSON object a line on standard error, or text for a person at a terminal.

A line that belongs to a traced call has its trace and span id. Nothing of a call's content is logged, and no header;
the texts of errors hold neither.
"""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Literal, TextIO

import msgspec

from claude_grpc.telemetry.span import current_span

__all__ = ["configure_logging", "where_it_failed"]

# There is a line for each call, and the standard library's encoder makes it a third dearer.
_encode = msgspec.json.Encoder(enc_hook=str).encode
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logging(level: str, form: Literal["auto", "json", "text"], stream: TextIO | None = None) -> None:
    """Send the log of this process to ``stream``, standard error by default."""
    stream = stream or sys.stderr
    as_text = form == "text" or (form == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_TextFormatter() if as_text else _JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Their lines at level info tell of each request, which is ours to tell.
    for noisy in ("aiohttp", "httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))


def where_it_failed(error: BaseException) -> str:
    """The stack of an exception and its type, without its text, which may quote what a caller has sent."""
    stack = "".join(traceback.format_tb(error.__traceback__))
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = f"{where_it_failed(earlier)}\nand then\n" if earlier else ""
    return f"{before}{stack}{type(error).__module__}.{type(error).__qualname__}"


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD and value not in ("", None)}


def _trace() -> dict[str, str]:
    span = current_span()
    return {"trace_id": f"{span.trace.id:032x}", "span_id": f"{span.id:016x}"} if span.trace.id else {}


def _on_one_line(value: object) -> str:
    """A value that cannot look like another line, whoever has written it."""
    text = str(value)
    return text if text.isprintable() else _encode(text).decode()


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_trace(),
            **_extras(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line).decode()


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        extras = _extras(record) | _trace()
        where = extras.pop("where", None)
        told = " ".join(f"{key}={_on_one_line(value)}" for key, value in extras.items())
        line = f"{time} {record.levelname.lower():7} {record.getMessage()} {told}".rstrip()
        below = self.formatException(record.exc_info) if record.exc_info else where
        return f"{line}\n{below}" if below else line
