"""Where the gateway's time goes: samples of its Python stacks, taken while it is under a load.

``python -m bench.profiles`` prints for each load the frames with most time of their own, and writes all stacks beside
the results, to be opened with https://www.speedscope.app. A sample is taken of the thread that holds the interpreter's
lock: of what grpc does in threads of its own, only the CPU of the whole process tells. C counts as the Python frame
that called it. Needs py-spy, and leave to look into other processes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from bench.loads import Load, Result, apply
from bench.processes import Cores
from bench.programs import HERE, Programs, find_programs
from bench.targets import GATEWAY, WINDOW, Target, opened_targets

__all__ = ["own_times"]

_RESULTS = HERE / "results"
_LOADS = {
    "calls": Load("calls", "-inflight 16", (GATEWAY,)),
    "streams": Load("streams", "-streams 100", (GATEWAY,)),
    "window": Load("window", "-streams 100", (WINDOW,)),
}
_TOP = 25
_SAMPLES_PER_SECOND = 500
# The load goes on so much longer, while py-spy starts and ends.
_MARGIN_SECONDS = 3.0


def own_times(recording: dict[str, Any]) -> list[tuple[str, float]]:
    """The frames of a recording, in speedscope's format, with their shares of its samples, the largest first."""
    frames = recording["shared"]["frames"]
    own: Counter[str] = Counter()
    for thread in recording["profiles"]:
        for stack, weight in zip(thread["samples"], thread["weights"], strict=True):
            if stack:
                frame = frames[stack[-1]]
                own[f"{frame['name']} ({'/'.join(Path(frame['file'] or '?').parts[-2:])})"] += weight
    whole = sum(own.values())
    return [(name, weight / whole) for name, weight in own.most_common()]


def _record(
    load: Load, target: Target, programs: Programs, cores: Cores, seconds: float
) -> tuple[dict[str, Any], Result]:
    assert target.server is not None  # upstream alone is never recorded
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        written = Path(folder) / "recording.json"
        py_spy = Path(sys.executable).with_name("py-spy")
        command = [
            *("taskset", "-c", cores.load, str(py_spy), "record", "--pid", str(target.server.pid), "--gil"),
            *("--duration", str(round(seconds)), "--rate", str(_SAMPLES_PER_SECOND)),
            *("--format", "speedscope", "--output", str(written)),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as recording:
            result = apply(load, target, programs, cores, seconds=seconds + _MARGIN_SECONDS)
            said, _ = recording.communicate()
        if recording.returncode:
            raise RuntimeError(f"py-spy: {said.strip()}")
        return json.loads(written.read_text()), result


def _tell(name: str, recording: dict[str, Any], result: Result) -> str:
    lines = [f"{name}: {result['cpu_s'] / result['window_s']:.2f} cores in all; own time with the lock, by frame:"]
    lines += [f"  {share:6.1%}  {frame}" for frame, share in own_times(recording)[:_TOP]]
    return "\n".join(lines)


def main() -> None:
    """Record, print, and write."""
    parser = argparse.ArgumentParser(prog="bench.profiles", description=__doc__)
    parser.add_argument("loads", nargs="*", help=f"of {', '.join(_LOADS)}; all by default")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each is recorded")
    arguments = parser.parse_args()
    programs, cores = find_programs(), Cores.of_this_machine()
    _RESULTS.mkdir(exist_ok=True)
    with opened_targets(programs, cores, {GATEWAY, WINDOW}, peers=False) as targets:
        for name in arguments.loads or _LOADS:
            [target] = filter(_LOADS[name].runs_on, targets)
            recording, result = _record(_LOADS[name], target, programs, cores, arguments.seconds)
            path = _RESULTS / f"profile-{name}.speedscope.json"
            path.write_text(json.dumps(recording))
            print(_tell(name, recording, result), f"  all in {path}", sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
