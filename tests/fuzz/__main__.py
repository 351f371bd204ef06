"""`make fuzz`: feeds each target with many inputs, led by coverage where there is atheris, by chance where not.

Each target has a process of its own: `python -m fuzz RUNS` starts them one after the other. An input that fails is
printed, or written to a file by atheris.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# What finds a fault in a stream is short, and its length is what it costs.
LONGEST = {"sse": 256, "jsonl": 256}
# Slower than that is a fault, too.
SECONDS = 10


def main() -> int:
    """Fuzz all targets, or the one that is named."""
    if len(sys.argv) > 3:
        return fuzz(sys.argv[2], int(sys.argv[1]), sys.argv[3:])
    from fuzz.targets import TARGETS

    runs = int(sys.argv[1])
    for name in TARGETS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as corpus:
            status = subprocess.call([sys.executable, "-m", "fuzz", str(runs), name, corpus])
        if status:
            print(f"{name}: failed", flush=True)
            return status
        print(f"{name}: {runs} inputs in {time.monotonic() - began:.0f} s, no fault", flush=True)
    return 0


def fuzz(name: str, runs: int, more: list[str]) -> int:
    """Fuzz one target."""
    try:
        import atheris
    except ImportError:
        print(f"{name}: there is no atheris for this Python; inputs are made by chance", flush=True)
        return fuzz_by_chance(name, runs)
    with atheris.instrument_imports(
        include=["claude_grpc.codec", "claude_grpc.upstream.sse", "claude_grpc.upstream.jsonl"]
    ):
        from fuzz.targets import SEEDS, TARGETS
    for number, seed in enumerate(SEEDS[name]()):
        (Path(more[0]) / f"seed{number}").write_bytes(seed)
    longest = f"-max_len={LONGEST.get(name, 1024)}"
    options = [f"-runs={runs}", longest, f"-timeout={SECONDS}", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], *options, *more], TARGETS[name])
    atheris.Fuzz()
    return 0


def fuzz_by_chance(name: str, runs: int) -> int:
    """Fuzz one target with small changes of its seeds."""
    from fuzz.mutate import mutated
    from fuzz.targets import SEEDS, TARGETS

    seed = random.SystemRandom().randrange(10**6)
    chance, seeds = random.Random(seed), list(SEEDS[name]())
    for _ in range(runs):
        data = mutated(chance.choice(seeds), chance)
        began = time.monotonic()
        try:
            TARGETS[name](data)
        except Exception:
            print(f"{name}: {data!r}", flush=True)
            raise
        if time.monotonic() - began > SECONDS:
            print(f"{name}: too slow: {data!r}", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
