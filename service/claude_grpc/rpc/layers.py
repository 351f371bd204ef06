"""What stands around every call, in named order: see `claude_grpc.server`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from claude_grpc.rpc.call import Call

__all__ = ["log_call"]

_log = logging.getLogger("claude_grpc.call")


@asynccontextmanager
async def log_call(call: Call) -> AsyncIterator[None]:
    """One line in the log for each call, at its end. Nothing of its content, nothing of its metadata."""
    code = "OK"
    try:
        yield
        if call.status is not None:
            code = call.status.code.name
    except asyncio.CancelledError:
        # The deadline of the caller ends a call by cancelling it, too.
        late = call.deadline is not None and time.monotonic() >= call.deadline
        code = "DEADLINE_EXCEEDED" if late else "CANCELLED"
        raise
    finally:
        _log.info(
            "%s %s",
            call.method,
            code,
            extra={
                "method": call.method,
                "code": code,
                "reason": call.status.reason if call.status else "",
                "seconds": round(time.monotonic() - call.started, 6),
                "request_id": call.upstream.request_id,
                "attempts": call.upstream.attempts,
            },
        )
