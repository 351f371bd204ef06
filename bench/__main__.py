"""The command: ``python -m bench`` for all of it, ``python -m bench --quick`` for a minute's worth."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime

from bench import loads
from bench.figures import goals
from bench.plot import draw
from bench.processes import Cores
from bench.programs import HERE, find_programs
from bench.report import conditions, summary, tables
from bench.runner import run

_RESULTS = HERE / "results"


def main() -> int:
    """Measure, print the tables, write the files; 1 if a goal was not met and that was asked for."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few loads, short, without peers")
    parser.add_argument("--repetitions", type=int, help="how often all is measured (default 5, quick: 2)")
    parser.add_argument("--seconds", type=float, help="how long each measurement is (default 3, quick: 1)")
    parser.add_argument("--no-peers", action="store_true", help="without peers, also if they are installed")
    parser.add_argument("--check", action="store_true", help="fail if a goal is not met")
    parser.add_argument("--no-go", action="store_true", help="the load generator in Python, also if Go is there")
    arguments = parser.parse_args()
    quick: bool = arguments.quick
    repetitions = arguments.repetitions or (2 if quick else 5)
    seconds = arguments.seconds or (1.0 if quick else 3.0)

    programs, cores = find_programs(use_go=not arguments.no_go), Cores.of_this_machine()
    began = datetime.now(UTC)
    runs = run(
        programs,
        cores,
        loads.QUICK if quick else loads.FULL,
        repetitions=repetitions,
        seconds=seconds,
        peers=not (quick or arguments.no_peers),
    )
    figures = goals(runs)
    found = conditions(date=f"{began:%Y-%m-%d}", repetitions=repetitions, seconds=seconds, load=programs.language)
    print(tables(runs, figures))
    name = "quick" if quick else "bench"
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{name}.json").write_text(json.dumps({"conditions": found, "runs": runs}, indent=1) + "\n")
    (_RESULTS / f"{name}-summary.json").write_text(json.dumps(summary(runs, figures, found), indent=1) + "\n")
    (_RESULTS / f"{name}.svg").write_text(draw(runs))
    return int(arguments.check and any(figure.is_met is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
