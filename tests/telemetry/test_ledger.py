from __future__ import annotations

import pytest

from claude_grpc.telemetry.ledger import Ledger, Phase


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


def read(line: str) -> dict[str, int]:
    return {name: int(micros) for name, micros in (part.split("=") for part in line.split(","))}


def test_each_phase_has_its_time_and_all_add_up() -> None:
    clock = Clock()
    ledger = Ledger(clock=clock)
    for step, phase in enumerate(Phase, start=1):
        ledger.enter(phase)
        clock.pass_(step * 1e-6)
    times = read(ledger.line())
    assert list(times) == [phase.value for phase in Phase] + ["total"]
    assert list(times.values()) == [1, 2, 3, 4, 5, 6, 7, 8, 36]


def test_an_attempt_that_failed_is_time_for_retries_with_the_wait_after_it() -> None:
    clock = Clock()
    ledger = Ledger(clock=clock)
    for seconds, enter in ((1, Phase.CONNECT), (2, Phase.FIRST_EVENT), (4, None), (8, Phase.CONNECT), (16, None)):
        clock.pass_(seconds)
        if enter is None:
            ledger.give_up()
        else:
            ledger.enter(enter)
    times = read(ledger.line())
    assert times["admission"] == 1_000_000
    assert times["retry"] == (2 + 4 + 8 + 16) * 1_000_000
    assert times["connect"] == times["first-event"] == 0
    assert times["total"] == 31_000_000


def test_only_the_attempt_that_failed_is_time_for_retries_and_not_the_call_that_was_answered_before() -> None:
    clock = Clock()
    ledger = Ledger(clock=clock)
    for seconds, fails in ((1, False), (2, True), (4, False)):
        ledger.begin_attempt()
        clock.pass_(seconds)
        ledger.enter(Phase.FIRST_EVENT)
        clock.pass_(seconds * 10)
        if fails:
            ledger.give_up()
        else:
            ledger.enter(Phase.RELAY)
    times = read(ledger.line())
    assert (times["connect"], times["first-event"], times["retry"]) == (5_000_000, 50_000_000, 22_000_000)


def test_the_wait_for_the_caller_is_nobody_elses_and_ends_when_upstream_answers() -> None:
    clock = Clock()
    ledger = Ledger(clock=clock)
    ledger.enter(Phase.FIRST_EVENT)
    before = ledger.receiving()
    clock.pass_(2)
    ledger.received(before)
    assert ledger.phase is Phase.FIRST_EVENT
    before = ledger.receiving()
    clock.pass_(3)
    ledger.enter(Phase.RELAY)
    ledger.received(before)
    times = read(ledger.line())
    assert ledger.phase is Phase.RELAY
    assert (times["receive"], times["first-event"], times["total"]) == (5_000_000, 0, 5_000_000)


def test_waits_within_an_answer_are_not_the_gateways() -> None:
    clock = Clock()
    ledger = Ledger(clock=clock)
    ledger.enter(Phase.RELAY)
    clock.pass_(3)
    ledger.enter(Phase.RELAY)
    ledger.waited(2)
    times = read(ledger.line())
    assert (times["stream"], times["relay"], times["total"]) == (2_000_000, 1_000_000, 3_000_000)


def test_a_call_that_ends_while_it_waits_for_more_ends_in_that_phase() -> None:
    clock = Clock()
    ledger = Ledger(clock=clock)
    ledger.enter(Phase.RELAY)
    clock.pass_(3)
    ledger.waited(2, waits=True)
    clock.pass_(4)
    times = read(ledger.line())
    assert ledger.phase is Phase.STREAM
    assert (times["stream"], times["relay"], times["total"]) == (6_000_000, 1_000_000, 7_000_000)


@pytest.mark.parametrize(
    ("deadline", "seconds", "late"),
    [(None, 1e9, False), (1.0, 0.5, False), (1.0, 1.0, True), (1.0, 0.985, True), (600, 590, False), (600, 595, True)],
)
def test_a_cancel_about_the_deadline_is_the_deadlines(deadline: float | None, seconds: float, late: bool) -> None:
    clock = Clock()
    ledger = Ledger(None if deadline is None else clock.now + deadline, clock=clock)
    clock.pass_(seconds)
    assert ledger.is_late is late
