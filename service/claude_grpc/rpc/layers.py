"""What stands around every call, in named order: see `claude_grpc.server`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from claude_grpc.rpc.call import Call
from claude_grpc.rpc.front import Layer
from claude_grpc.telemetry import names
from claude_grpc.telemetry.calls import Telemetry
from claude_grpc.telemetry.ledger import TRAILER

__all__ = ["observe"]

_log = logging.getLogger("claude_grpc.call")


def observe(telemetry: Telemetry) -> Layer:
    """The layer that gives each call its span, its place in the metrics, its line in the log, and its timing."""

    async def layer(call: Call, proceed: Callable[[], Awaitable[None]]) -> None:
        told = call.telemetry = telemetry.call(call.method, call.metadata, call.deadline)
        if call.deadline is None:
            told.without_deadline()
        with told.current():
            code = names.OK
            try:
                await proceed()
                if call.status is not None:
                    code = call.status.code.name
                    if code == names.DEADLINE_EXCEEDED:
                        # The gateway gives up a little before its caller would.
                        told.out_of_time()
            except asyncio.CancelledError:
                # The caller's deadline ends a call by cancelling it, too.
                code = told.cancelled()
                raise
            finally:
                call.trailers[TRAILER] = told.ledger.line()
                reason = call.status.reason if call.status else ""
                told.ended(code, reason, timing=call.trailers[TRAILER])
                _write_line(call, code, reason)

    return layer


def _write_line(call: Call, code: str, reason: str) -> None:
    """One line for each call, at its end. Nothing of its content, nothing of its metadata."""
    extra: dict[str, object] = {
        "method": call.method,
        "code": code,
        "reason": reason,
        "seconds": round(call.telemetry.ledger.seconds, 6),
        "request_id": call.upstream.request_id,
        "attempts": call.upstream.attempts,
        "timing": call.trailers[TRAILER],
    }
    if (model_call := call.telemetry.model_call) is not None:
        usage = model_call.usage
        if not call.upstream.attempts:  # nothing came back to tell of
            extra |= {"request_id": model_call.request_id, "attempts": model_call.attempts}
        extra |= {
            "model": model_call.model,
            "input_tokens": usage.input,
            "output_tokens": usage.output,
            "cache_read_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
        }
    _log.info("%s %s", call.method, code, extra=extra)
