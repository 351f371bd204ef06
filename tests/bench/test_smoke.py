from __future__ import annotations

import shutil

import pytest

from bench.figures import goals
from bench.loads import Load
from bench.plot import draw
from bench.processes import Cores
from bench.programs import find_programs
from bench.report import conditions, summary, tables
from bench.runner import run
from bench.targets import DIRECT, FLOOR, GATEWAY

_TARGETS = (DIRECT, FLOOR, GATEWAY)
_LOADS = (
    Load("100 streams", "-streams 3", _TARGETS),
    Load("16 calls", "-inflight 2", _TARGETS),
    Load("first event", "-first 3", _TARGETS),
    Load("200 streams beside images", "-streams 3 -images 10", (GATEWAY,)),
)


@pytest.mark.timeout(180)  # Go may have to be built
@pytest.mark.parametrize("language", ["Python", "Go"])
def test_every_load_gives_figures_for_every_target_in_its_load_generator(language: str) -> None:
    if language == "Go" and shutil.which("go") is None:
        pytest.skip("Go is not installed; its load generator is not tested")
    programs = find_programs(use_go=language == "Go")

    runs = run(programs, Cores.of_this_machine(), _LOADS, repetitions=1, seconds=0.2, peers=False, silent_streams=10)
    figures = goals(runs)

    assert not [
        result["error"]
        for load in _LOADS
        for name in load.targets
        for result in runs[load.name][name]
        if result["errors"]
    ]
    assert {figure.name for figure in figures} >= {
        "CPU per event, 100 streams x 50/s / bare",
        "CPU per unary call, 16 in flight / bare",
        "added time to first event, p50",
        "added delay of an event, 100 streams, p50",
        "memory per open stream",
    }
    assert all(f"| {name} |" in tables(runs, figures) for name in _TARGETS)
    assert set(summary(runs, figures, conditions())["targets"]) == set(_TARGETS)
    assert f">{GATEWAY}</text>" in draw(runs)
