"""What a run found, as text for a reader and as JSON for a program."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.figures import Figure, Runs, Value, cpu_per_call, cpu_per_event, median, of
from bench.peers import PEERS
from bench.programs import HERE

__all__ = ["LINES", "conditions", "summary", "tables", "target_names"]

LINES: Mapping[str, tuple[str, Value]] = {
    "requests/s": ("16 calls", of("calls_per_s")),
    "CPU us/call": ("16 calls", cpu_per_call),
    "call p50 ms": ("16 calls", of("latency_ms", "p50")),
    "CPU us/event": ("100 streams", cpu_per_event),
    "first event ms": ("first event", of("first_ms", "p50")),
    "its p99": ("first event", of("first_ms", "p99")),
    "delay, 1": ("1 stream", of("delay_ms", "p50")),
    "delay, 20": ("20 streams", of("delay_ms", "p50")),
    "delay, 100": ("100 streams", of("delay_ms", "p50")),
    "its p99 ": ("100 streams", of("delay_ms", "p99")),
    "events/s, 1000": ("1000 streams", of("events_per_s")),
    "delay, 1000": ("1000 streams", of("delay_ms", "p50")),
    "of them opened": ("1000 streams", of("opened")),
    "idle MB": ("start", of("rss_mb")),
    "start s": ("start", of("seconds")),
}
"""Lines of the table of targets: a load, and a value under it."""

_PACKAGES = ("claude-grpc", "grpcio", "protobuf", "uvloop", "aiohttp", "httpx", "msgspec")


def conditions(**more: Any) -> dict[str, Any]:
    """What figures depend on: machine, versions, commit; and who else used it, as the load of the last five minutes."""
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return {
        "cpu": model.partition(":")[2].strip(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "load_average": os.getloadavg()[1],
        "versions": {
            **{name: found for name in _PACKAGES if (found := _version(name))},
            **{peer.name: peer.version() for peer in PEERS if peer.is_installed},
        },
        **more,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def target_names(runs: Runs) -> list[str]:
    """Everything that was measured, in its order."""
    found = dict.fromkeys(name for load, by_target in runs.items() for name in by_target if load != "start")
    return list(found)


def summary(runs: Runs, figures: Sequence[Figure], conditions: Mapping[str, Any]) -> dict[str, Any]:
    """The run in short: goals with their spread, and the median of every line for every target."""
    return {
        "conditions": conditions,
        "figures": [
            {
                "name": figure.name,
                "unit": figure.unit,
                "median": round(figure.median, 4),
                "min": round(min(figure.values), 4),
                "max": round(max(figure.values), 4),
                "goal": figure.goal and round(figure.goal, 4),
                "met": figure.is_met,
            }
            for figure in figures
            if figure.values
        ],
        "targets": {
            target: {name.strip(): round(value, 4) for name, value in _row(runs, target).items() if value is not None}
            for target in target_names(runs)
        },
    }


def _row(runs: Runs, target: str) -> dict[str, float | None]:
    # Nothing is what has not been measured: the CPU of no server, the first event of no stream.
    return {name: median(runs, load, target, value) or None for name, (load, value) in LINES.items()}


def tables(runs: Runs, figures: Sequence[Figure]) -> str:
    """Two tables in Markdown: figures against their goals, and all targets side by side."""
    lines = ["| figure | median (least to most) | goal | |", "|---|---|---|---|"]
    lines.extend(_figure_line(figure) for figure in figures)
    targets = {target: _row(runs, target) for target in target_names(runs)}
    lines += ["", f"| median | {' | '.join(targets)} |", "|---" * (len(targets) + 1) + "|"]
    for name in LINES:
        values = [row[name] for row in targets.values()]
        if any(value is not None for value in values):
            cells = ["" if value is None else _number(value) for value in values]
            lines.append(f"| {name.strip()} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _figure_line(figure: Figure) -> str:
    if not figure.values:
        return f"| {figure.name} | not measured | {_bound(figure)} | |"
    values = f"{_number(figure.median)} {figure.unit} ({_number(min(figure.values))} to {_number(max(figure.values))})"
    if figure.goal is None:
        return f"| {figure.name} | {values} | | |"
    return f"| {figure.name} | {values} | {_bound(figure)} | {'met' if figure.is_met else 'NOT MET'} |"


def _bound(figure: Figure) -> str:
    return (
        ""
        if figure.goal is None
        else f"{'at most' if figure.at_most else 'at least'} {_number(figure.goal)} {figure.unit}"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 # three digits tell enough
