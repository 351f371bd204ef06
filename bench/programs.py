"""The programs that make the load: in Go, or in Python where Go is not installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HERE", "Programs", "find_programs"]

HERE = Path(__file__).parent

Command = tuple[str, ...]


@dataclass(frozen=True)
class Programs:
    """How to start the fake upstream and the load generator.

    Attributes:
        language: ``Go``, or ``Python``, which is the bottleneck itself from about a hundred streams on.
    """

    fake: Command
    load: Command
    language: str


def find_programs(*, use_go: bool = True) -> Programs:
    """Build them if Go is there."""
    if not use_go or shutil.which("go") is None:
        return Programs(_python("fake"), _python("load"), "Python")
    folder = HERE / ".bin"
    subprocess.run(["go", "build", "-o", f"{folder}/", "./fake", "./load"], cwd=HERE, check=True)
    return Programs((str(folder / "fake"),), (str(folder / "load"),), "Go")


def _python(name: str) -> Command:
    return (sys.executable, "-m", f"bench.fallback.{name}")
