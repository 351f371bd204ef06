"""The loads that targets are put under, in the order in which one repetition has them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.processes import ROOT, Cores
from bench.programs import Programs
from bench.targets import DIRECT, FLOOR, GATEWAY, PLAIN, WINDOW, WORKERS, Target

__all__ = ["FULL", "QUICK", "Load", "Result", "apply"]

Result = Mapping[str, Any]
"""What the load generator prints; its ``result`` says what is what."""

_OURS = (FLOOR, GATEWAY)
_FEW = (DIRECT, FLOOR, GATEWAY)
_ALL = (DIRECT, FLOOR, PLAIN, GATEWAY)


@dataclass(frozen=True)
class Load:
    """One load.

    Attributes:
        name: How figures refer to it.
        arguments: For the load generator.
        targets: Who is put under it, one after the other.
        peers: Whether peers are, too.
    """

    name: str
    arguments: str
    targets: Sequence[str]
    peers: bool = False

    def runs_on(self, target: Target) -> bool:
        """Whether the target is put under this load."""
        return target.name in self.targets or (self.peers and target.is_peer)


_STREAMS_100 = Load("100 streams", "-streams 100", (*_ALL, WINDOW), peers=True)
_CALLS = Load("16 calls", "-inflight 16", _ALL, peers=True)
_FIRST = Load("first event", "-first 300", _ALL, peers=True)
_SATURATION = Load("1000 streams", "-streams 1000", (*_ALL, WORKERS))

FULL = (
    _STREAMS_100,
    _CALLS,
    _FIRST,
    Load("1 stream", "-streams 1", _ALL, peers=True),
    Load("20 streams", "-streams 20", _ALL, peers=True),
    _SATURATION,
    Load("4 calls", "-inflight 4", _OURS),
    Load("4 calls beside 1000 streams", "-inflight 4 -streams 1000 -rate 0", _OURS),
    Load("200 streams", "-streams 200 -rate 20", _OURS),
    Load("200 streams beside images", "-streams 200 -rate 20 -images 2", (GATEWAY,)),
)

QUICK = (
    Load(_STREAMS_100.name, _STREAMS_100.arguments, (*_FEW, WINDOW)),
    Load(_CALLS.name, _CALLS.arguments, _FEW),
    Load(_FIRST.name, "-first 100", _FEW),
)


def apply(load: Load, target: Target, programs: Programs, cores: Cores, *, seconds: float) -> Result:
    """Put the target under the load and measure for that long.

    Raises:
        RuntimeError: The load generator failed, a delta was lost or came out of turn, or no call was answered.
    """
    pid = ("-pid", str(target.server.pid)) if target.server else ()
    done = subprocess.run(
        [
            *("taskset", "-c", cores.load, *programs.load, "-target", target.url),
            *("-window", f"{seconds}s", "-warmup", f"{min(1.0, seconds / 2)}s"),
            *(*pid, *target.arguments, *load.arguments.split()),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{load.name} on {target.name}: {done.stderr.strip()}")
    result: Result = json.loads(done.stdout)
    if result["lost"]:
        raise RuntimeError(f"{load.name} on {target.name}: {result['lost']} deltas came out of turn")
    if "-inflight" in load.arguments and not result["calls"] and not target.is_peer:
        # A call that was refused costs next to nothing, which must not pass for a figure.
        raise RuntimeError(f"{load.name} on {target.name}: no call was answered: {result.get('error')}")
    return result
