"""Several workers on one port: started clean, replaced when they die, drained together.

A worker is the command itself again, in a process of its own that serves as if it were alone; the kernel spreads new
connections over all that listen. No call passes through here, and grpc is never loaded: nothing it holds is forked.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress

from claude_grpc.config import ConfigurationError, Settings

__all__ = ["Backoff", "Supervisor", "supervise", "worker_environment"]

_log = logging.getLogger(__name__)


async def supervise(settings: Settings) -> int:
    """Serve with ``settings.workers`` workers until SIGTERM or SIGINT; the exit status comes back."""
    with _reserve(settings.listen) as held:
        address = f"{settings.listen.rpartition(':')[0]}:{held.getsockname()[1]}"
        command = (sys.executable, "-m", "claude_grpc", "serve", "--worker", "--listen", address)
        return await Supervisor([*command, "--workers", str(settings.workers)], settings.workers).run()


class Backoff:
    """How long a worker's place stays empty: at first hardly, longer with each one that died young."""

    FIRST_SECONDS = 0.1
    MOST_SECONDS = 30.0
    # Who lived so long did not die of its start.
    OLD_SECONDS = 60.0

    def __init__(self) -> None:
        self._next = self.FIRST_SECONDS

    def wait(self, lived: float) -> float:
        """Seconds until another one is started, after one that lived so long."""
        if lived >= self.OLD_SECONDS:
            self._next = self.FIRST_SECONDS
        wait, self._next = self._next, min(self._next * 2, self.MOST_SECONDS)
        return wait


class Supervisor:
    """Keeps workers running.

    Args:
        command: Starts one. It prints a line when it serves, drains on SIGTERM, and on the end of its input.
        count: How many.
    """

    def __init__(self, command: Sequence[str], count: int) -> None:
        self._command = command
        self._running: dict[int, Process] = {}
        self._count = count
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Start all, say so once all serve, and return when all have ended: 0 if that was asked for and went well."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        lines = await asyncio.gather(*(self._start(index) for index in range(self._count)))
        if not all(lines):
            return await self._give_up()
        print(lines[0], end="", flush=True)  # noqa: T201 # for whoever started it
        _log.info("All workers serve", extra={"workers": self._count})
        statuses = await asyncio.gather(*(self._keep(index) for index in range(self._count)))
        # Who was told to end before it could listen to that has not failed.
        return int(any(status not in {0, -signal.SIGTERM} for status in statuses))

    def _stop(self) -> None:
        # Each signal is passed on: a second one makes workers hurry.
        self._stopping.set()
        for process in self._running.values():
            _tell_to_end(process)

    async def _give_up(self) -> int:
        # All would fail for the same reason, which each has told.
        self._stop()
        statuses = [await process.wait() for process in self._running.values()]
        return next((status for status in statuses if status > 0), 1)

    async def _start(self, index: int) -> str:
        """Start a worker and return the line that it prints when it serves; empty if it ends before."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            env=worker_environment(os.environ, index),
            # A terminal's Ctrl-C is for the supervisor, which passes it on.
            start_new_session=True,
        )
        self._running[index] = process
        if self._stopping.is_set():
            _tell_to_end(process)
        assert process.stdout is not None  # noqa: S101 # it is a pipe
        return (await process.stdout.readline()).decode()

    async def _keep(self, index: int) -> int:
        """Replace a worker whenever it ends; the status of the last one, once that was told to end."""
        backoff = Backoff()
        began = time.monotonic()
        while True:
            status = await self._running[index].wait()
            if self._stopping.is_set():
                return status
            wait = backoff.wait(time.monotonic() - began)
            _log.error("A worker has died", extra={"worker": index, "status": status, "restart_seconds": wait})
            if await self._stops_within(wait):
                return 0
            began = time.monotonic()
            if await self._start(index):
                _log.info("A worker serves again", extra={"worker": index})

    async def _stops_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True


def _tell_to_end(process: Process) -> None:
    # Not its terminate(): that looks whether it has ended, and then asyncio cannot tell its status any more.
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)


def worker_environment(environ: Mapping[str, str], index: int) -> dict[str, str]:
    """The environment of one worker: what must differ between those on one machine does."""
    own = dict(environ)
    attributes = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if "service.instance.id=" in attributes:
        own["OTEL_RESOURCE_ATTRIBUTES"] = ",".join(
            f"{item}-{index}" if item.strip().startswith("service.instance.id=") else item
            for item in attributes.split(",")
        )
    if "prometheus" in environ.get("OTEL_METRICS_EXPORTER", ""):
        port = environ.get("OTEL_EXPORTER_PROMETHEUS_PORT") or "9464"
        own["OTEL_EXPORTER_PROMETHEUS_PORT"] = str(int(port) + index) if port.isdigit() else port
    return own


def _reserve(listen: str) -> socket.socket:
    """Take the port, so that every worker finds it and nobody else does."""
    host, _, port = listen.rpartition(":")
    try:
        [(family, *_, address), *_] = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        with socket.socket(family) as probe:
            # Sharing is for our workers: another server there is a mistake that should be told.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
        held = socket.socket(family)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # It never listens, so the kernel gives it no connection.
        held.bind(address)
    except (OSError, OverflowError):
        raise ConfigurationError(f"cannot listen on {listen}; is the port taken?") from None
    return held
