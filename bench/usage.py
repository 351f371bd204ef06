"""What a tree of processes has used, from ``/proc``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Usage", "tree_usage"]


@dataclass(frozen=True)
class Usage:
    """CPU time, of all threads, and memory."""

    cpu_s: float = 0.0
    rss_mb: float = 0.0


def tree_usage(pid: int) -> Usage:
    """Of a process and all below it; nothing for pid 0."""
    if not pid:
        return Usage()
    # The name in parentheses may hold anything; the state is field 3.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    below = [tree_usage(int(child)) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return Usage(
        (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(usage.cpu_s for usage in below),
        int(fields[21]) * os.sysconf("SC_PAGESIZE") / 1e6 + sum(usage.rss_mb for usage in below),
    )
