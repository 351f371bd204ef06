"""What a run prints when something in it was not as it should be."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from bench.figures import goals
from bench.loads import Load, apply
from bench.processes import Cores, Started
from bench.profiles import own_times
from bench.programs import Programs
from bench.report import tables
from bench.targets import FLOOR, GATEWAY, WINDOW, Target


def test_a_goal_that_was_not_measured_is_told_and_neither_met_nor_missed() -> None:
    event = {"cpu_s": 1.0, "events": 1000, "delay_ms": {"p50": 1.0, "p99": 2.0}}
    runs = {"100 streams": {FLOOR: [event], GATEWAY: [event | {"cpu_s": 2.0}], WINDOW: [event | {"cpu_s": 1.5}]}}

    figures = goals(runs)
    lines = tables(runs, figures).splitlines()

    assert "| CPU per event, 100 streams x 50/s / bare | 2 x (2 to 2) | at most 2.2 x | met |" in lines
    assert "| the same, 20 ms window / bare | 1.5 x (1.5 to 1.5) | at most 1.3 x | NOT MET |" in lines
    assert "| CPU per unary call, 1000 streams open / none | not measured | at most 1.2 x | |" in lines
    assert sum(figure.is_met is not None for figure in figures) == 2


@pytest.mark.skipif(shutil.which("taskset") is None, reason="the load generator is started with taskset")
def test_calls_that_are_all_refused_are_no_figure() -> None:
    refused = json.dumps({"lost": 0, "calls": 0, "errors": 8, "error": "as many calls as it can serve", "cpu_s": 0.01})
    programs = Programs((), (sys.executable, "-c", f"print({refused!r})"), "Python")
    target = Target(GATEWAY, "grpc://127.0.0.1:1", Started(1, "127.0.0.1:1", 0.1))
    load = Load("4 calls", "-inflight 4", (GATEWAY,))

    with pytest.raises(RuntimeError, match="4 calls on claude-grpc: no call was answered: as many calls"):
        apply(load, target, programs, Cores.of_this_machine(), seconds=0.1)


def test_a_profile_tells_frames_by_their_own_time() -> None:
    frames = [
        {"name": "outer", "file": "/a/b/c.py"},
        {"name": "inner", "file": "/a/b/d.py"},
        {"name": "c", "file": None},
    ]
    threads = [
        {"samples": [[0], [0, 1], []], "weights": [0.1, 0.2, 9.0]},
        {"samples": [[0, 1, 2]], "weights": [0.1]},
    ]
    shares = own_times({"shared": {"frames": frames}, "profiles": threads})
    assert [name for name, _ in shares] == ["inner (b/d.py)", "outer (b/c.py)", "c (?)"]
    assert [share for _, share in shares] == pytest.approx([0.5, 0.25, 0.25])
