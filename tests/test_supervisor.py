"""What the supervisor decides; and what it does with workers that are not ours, so that they fail as a test wants."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from claude_grpc.supervisor import Backoff, Supervisor, worker_environment


def test_a_place_stays_empty_longer_with_each_worker_that_dies_young() -> None:
    backoff = Backoff()
    waits = [backoff.wait(lived=1.0) for _ in range(12)]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert max(waits) == waits[-1] == 30.0


def test_a_worker_that_grew_old_is_replaced_at_once() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.wait(lived=0.0)
    assert backoff.wait(lived=3600.0) == 0.1


def test_workers_have_an_instance_and_a_port_for_metrics_each() -> None:
    told = {
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=a,service.instance.id=b",
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_PORT": "9000",
        "HOME": "/",
    }
    own = worker_environment(told, 1)
    assert own["OTEL_RESOURCE_ATTRIBUTES"] == "service.name=a,service.instance.id=b-1"
    assert own["OTEL_EXPORTER_PROMETHEUS_PORT"] == "9001"
    assert own["HOME"] == "/"
    assert worker_environment({"HOME": "/"}, 1) == {"HOME": "/"}


async def test_a_worker_that_cannot_start_ends_all_with_its_status(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # The first to come serves, the second fails as one does with a wrong setting.
    script = f"""
import os, pathlib, sys, time
try:
    pathlib.Path({str(tmp_path / "first")!r}).touch(exist_ok=False)
except FileExistsError:
    sys.exit(2)
print("serving", flush=True)
time.sleep(60)
"""
    assert await Supervisor([sys.executable, "-c", script], 2).run() == 2
    assert capfd.readouterr().out == ""


async def test_each_signal_reaches_the_workers(tmp_path: Path) -> None:
    # The worker signals back when it serves and when it has had the first one, which shall not end it.
    script = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("serving", flush=True)
for _ in range(2):
    os.kill(os.getppid(), signal.SIGUSR1)
    signal.sigwait({signal.SIGTERM})
"""
    heard: asyncio.Queue[None] = asyncio.Queue()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.put_nowait, None)
    running = asyncio.create_task(Supervisor([sys.executable, "-c", script], 1).run())
    for _ in range(2):
        await heard.get()
        os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0
    asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
