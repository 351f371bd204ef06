"""Processes under measurement: started on cores of their own, watched, and ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Cores", "Started", "started"]

# Where `python -m bench.…` finds them.
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Cores:
    """Which cores what runs on, as ``taskset`` has them: the server under test alone on one, if there are two."""

    server: str
    upstream: str
    load: str
    all: str

    @classmethod
    def of_this_machine(cls) -> Cores:
        """With two cores the upstream and the load share one; with more each has its own."""
        there = sorted(os.sched_getaffinity(0))
        others = there[1:] or there
        return cls(str(there[0]), str(others[0]), str(others[-1]), ",".join(map(str, there)))


@dataclass(frozen=True)
class Started:
    """A process that serves.

    Attributes:
        pid: Of its root; what it starts itself is below that.
        address: ``HOST:PORT``, or a URL.
        seconds: From its start until it served.
    """

    pid: int
    address: str
    seconds: float


@contextmanager
def started(
    command: Sequence[str | Path],
    *,
    cores: str,
    environment: Mapping[str, str] | None = None,
    wait: Callable[[subprocess.Popen[str]], str] | None = None,
) -> Iterator[Started]:
    """The process of a command, ended with the context.

    Args:
        command: What to run.
        cores: On which cores.
        environment: Variables over those of this process.
        wait: Returns where the process serves, once it does. By default the last word of the line it prints then.
    """
    pin = ["taskset", "-c", cores] if shutil.which("taskset") else []
    with tempfile.TemporaryFile("w+", prefix="bench-") as log:
        began = time.monotonic()
        with subprocess.Popen(
            [*pin, *map(str, command)],
            stdout=log if wait else subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        ) as process:
            try:
                address = (wait or _said_address)(process)
                if not address:
                    log.seek(0)
                    raise RuntimeError(f"{command[0]} did not start:\n{log.read()[-4000:]}")
                yield Started(process.pid, address, time.monotonic() - began)
            finally:
                _end(process)


def _said_address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None  # it is a pipe
    words = process.stdout.readline().split()
    return words[-1] if words else ""


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
