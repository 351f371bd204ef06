"""How late the event loop is: a timer that looks, once a second, how much later than due it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["watch_loop_lag"]

_INTERVAL = 1.0


async def watch_loop_lag(told: Callable[[float], None]) -> None:
    """Tell ``told`` the lag in seconds, again and again, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _INTERVAL
        await asyncio.sleep(_INTERVAL)
        told(max(loop.time() - due, 0.0))
