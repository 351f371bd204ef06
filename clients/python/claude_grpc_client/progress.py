"""How far long work has come, on one line of a terminal; nothing at all where nobody watches."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self, TextIO

__all__ = ["Progress"]

_WIDTH = 30
_SECONDS_BETWEEN = 0.1


class Progress:
    """A bar that is redrawn in place, at most ten times a second, and taken away at the end.

    Args:
        label: What is under way.
        total: How much there is; 0 if nobody knows.
        in_bytes: Whether it is bytes that are counted, not items.
        out: Where to draw; quiet if that is no terminal.
    """

    def __init__(self, label: str, total: int = 0, *, in_bytes: bool = False, out: TextIO | None = None) -> None:
        self._label = label
        self._total = total
        self._in_bytes = in_bytes
        self._out = out or sys.stderr
        self._quiet = not self._out.isatty()
        self._drawn_at = 0.0
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._quiet:
            print("\r\x1b[K", end="", file=self._out, flush=True)

    def add(self, amount: int = 1) -> None:
        """Count so much more as done."""
        self.reach(self._done + amount)

    def reach(self, done: int, total: int | None = None) -> None:
        """Say how much is done by now, and how much there is if that has become known."""
        self._done = done
        self._total = self._total if total is None else total
        now = time.monotonic()
        if not self._quiet and now - self._drawn_at >= _SECONDS_BETWEEN:
            self._drawn_at = now
            print(f"\r\x1b[K{self._line()}", end="", file=self._out, flush=True)

    def _line(self) -> str:
        done = _amount(self._done) if self._in_bytes else str(self._done)
        if not self._total:
            return f"{self._label} {done}"
        share = min(self._done / self._total, 1.0)
        bar = ("#" * round(share * _WIDTH)).ljust(_WIDTH, ".")
        total = _amount(self._total) if self._in_bytes else str(self._total)
        return f"{self._label} [{bar}] {share:4.0%} {done} of {total}"


def _amount(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:  # noqa: PLR2004 # the step between units
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
