"""One run: every load on every target, again and again, so that what is compared was measured side by side."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Sequence

from bench.figures import Runs
from bench.loads import Load, Result, apply
from bench.processes import Cores
from bench.programs import Programs
from bench.targets import GATEWAY, Target, gateway, opened_targets
from bench.usage import tree_usage

__all__ = ["run"]

# What a load leaves behind shall not be the next one's: connections to close, streams that a peer goes on reading.
_SETTLE_SECONDS = 15.0
_LOOK_SECONDS = 0.3
_IDLE_SHARE = 0.05


def run(
    programs: Programs,
    cores: Cores,
    loads: Sequence[Load],
    *,
    repetitions: int,
    seconds: float,
    peers: bool,
    silent_streams: int = 1000,
) -> Runs:
    """Measure; progress goes to standard error. The memory of a stream is told from so many silent ones."""
    silent = Load("silent streams", f"-streams {silent_streams} -rate 0", (GATEWAY,))
    runs: dict[str, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    names = {name for load in loads for name in load.targets}
    with opened_targets(programs, cores, names, peers=peers) as targets:
        for target in targets:
            if target.server and target.is_peer:
                fresh = {"seconds": target.server.seconds, "rss_mb": tree_usage(target.server.pid).rss_mb}
                runs["start"][target.name].append(fresh)
        for repetition in range(repetitions):
            runs["start"][GATEWAY].append(_start(programs, cores, targets[0], silent))
            for load in loads:
                for target in filter(load.runs_on, targets):
                    result = apply(load, target, programs, cores, seconds=seconds)
                    runs[load.name][target.name].append(result)
                    _tell(repetition, load, target, result)
                    _settle(target)
    return runs


def _start(programs: Programs, cores: Cores, upstream: Target, silent: Load) -> Result:
    """A fresh gateway: how soon it serves, its memory then, and with streams open."""
    with gateway(upstream.url, cores.server) as server:
        idle = tree_usage(server.pid).rss_mb
        fresh = Target(GATEWAY, f"grpc://{server.address}", server)
        opened = apply(silent, fresh, programs, cores, seconds=0.5)
        stream_kb = (opened["rss_mb"] - idle) * 1000 / opened["opened"]
        return {"seconds": server.seconds, "rss_mb": idle, "stream_kb": stream_kb}


def _settle(target: Target) -> None:
    """Wait until the target's process has nothing more to do."""
    end = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < end:
        before = tree_usage(target.server.pid).cpu_s if target.server else 0.0
        time.sleep(_LOOK_SECONDS)
        after = tree_usage(target.server.pid).cpu_s if target.server else 0.0
        if after - before < _IDLE_SHARE * _LOOK_SECONDS:
            return


def _tell(repetition: int, load: Load, target: Target, result: Result) -> None:
    failed = f", {result['errors']} errors: {result['error']}" if result["errors"] else ""
    print(f"{repetition + 1}: {load.name} on {target.name}{failed}", file=sys.stderr)
