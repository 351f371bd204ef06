"""Large requests on their way out: encoded beside the loop, so that one of 30 MB does not hold up everybody's deltas.

One at a time, whosever they are: while it is encoded, a request is in memory four times.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

__all__ = ["LARGE_BYTES", "encode_large", "give_way"]

LARGE_BYTES: Final = 256 * 1024
"""What is smaller is encoded sooner than a thread is told of it."""

_THREAD: Final = ThreadPoolExecutor(1, "encode")


def give_way() -> None:
    """Let the loop have the interpreter, which it would else wait five milliseconds for at each of its callbacks."""
    time.sleep(0.0005)


async def encode_large(encode: Callable[[], bytes]) -> bytes:
    """What ``encode`` makes, in its turn."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, encode)
