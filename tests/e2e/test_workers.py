"""Several workers on one port: real processes, and what becomes of calls when they die and drain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from claude_grpc.simulator import Simulator
from claude_grpc.v1.messages_pb2_grpc import MessagesServiceStub
from support.otlp import open_collector
from support.processes import COMMAND, GatewayProcess, clean_environment, running_gateway
from support.stack import create, drain, stream

PATIENCE = 30.0
CREATE = "claude_grpc.v1.MessagesService/CreateMessage"
# So many that the kernel, which spreads them by chance, gives each worker some.
CONNECTIONS = 16


@asynccontextmanager
async def two_workers(log: Path, **variables: str) -> AsyncIterator[GatewayProcess]:
    async with Simulator() as simulator:
        variables |= {"ANTHROPIC_BASE_URL": simulator.base_url, "CLAUDE_GRPC_WORKERS": "2"}
        gateway = running_gateway(log, **variables)
        yield await asyncio.to_thread(gateway.__enter__)
        await asyncio.to_thread(gateway.__exit__, None, None, None)


@asynccontextmanager
async def connections(target: str, count: int) -> AsyncIterator[list[Any]]:
    """Stubs with a connection each, which the kernel spreads over the workers."""
    async with contextlib.AsyncExitStack() as stack:
        channels = [
            # Without this they would share one.
            await stack.enter_async_context(
                grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
            )
            for _ in range(count)
        ]
        yield [MessagesServiceStub(channel) for channel in channels]  # type: ignore[no-untyped-call]


def workers(gateway: GatewayProcess) -> list[int]:
    pid = gateway.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def eventually(condition: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


async def test_a_killed_worker_is_replaced_while_the_other_serves_on(tmp_path: Path) -> None:
    async with two_workers(tmp_path / "log") as gateway:
        first, second = workers(gateway)
        async with connections(gateway.target, CONNECTIONS) as stubs:
            streams = [stub.StreamMessage(stream("[[pace 0.1]] one two three four five six")) for stub in stubs]
            for running in streams:
                await anext(aiter(running))
            os.kill(first, signal.SIGKILL)
            ended = await asyncio.gather(*(drain(running) for running in streams))
            # The kernel had spread them: those of the dead worker broke, the others came to their end.
            assert {end.code for end in ended} == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
        await eventually(lambda: len(workers(gateway)) == 2 and first not in workers(gateway))
        assert second in workers(gateway)
        async with connections(gateway.target, CONNECTIONS) as stubs:
            codes = [(await drain(stub.CreateMessage(create()))).code for stub in stubs]
        assert set(codes) == {grpc.StatusCode.OK}


async def test_a_signal_drains_all_workers(tmp_path: Path) -> None:
    async with two_workers(tmp_path / "log") as gateway:
        pids = workers(gateway)
        async with connections(gateway.target, CONNECTIONS) as stubs:
            streams = [stub.StreamMessage(stream("[[pace 0.05]] one two three four five six")) for stub in stubs]
            for running in streams:
                await anext(aiter(running))
            gateway.process.terminate()
            ended = await asyncio.gather(*(drain(running) for running in streams))
            assert [(end.code, end.types[-1]) for end in ended] == [(grpc.StatusCode.OK, "message_stop")] * CONNECTIONS
        assert await asyncio.to_thread(gateway.process.wait, PATIENCE) == 0
        assert not any(map(alive, pids))
        assert (tmp_path / "log").read_text().count("Drained") == 2


async def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    async with two_workers(tmp_path / "log") as gateway:
        pids = workers(gateway)
        gateway.process.kill()
        await eventually(lambda: not any(map(alive, pids)))


@pytest.mark.parametrize("taken_by", ["one", "two"])
async def test_a_port_that_another_gateway_has_is_not_shared_with_it(
    tmp_path: Path, taken_by: str, gateway_process: GatewayProcess
) -> None:
    async with two_workers(tmp_path / "log") as gateway:
        target = gateway.target if taken_by == "two" else gateway_process.target
        process = await asyncio.create_subprocess_exec(
            *(*COMMAND, "serve", "--workers", "2", "--listen", target),
            env=clean_environment(ANTHROPIC_API_KEY="key"),
            stderr=asyncio.subprocess.PIPE,
        )
        _, told = await process.communicate()
    assert process.returncode == 2
    assert f"cannot listen on {target}" in told.decode()


async def test_each_worker_tells_of_itself_under_an_id_of_its_own(tmp_path: Path) -> None:
    async with open_collector() as collector:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http_url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "300",
        }
        async with (
            two_workers(tmp_path / "log", **variables) as gateway,
            connections(gateway.target, CONNECTIONS) as stubs,
        ):
            await asyncio.gather(*(drain(stub.CreateMessage(create())) for stub in stubs))
            await collector.until(lambda: len(collector.named(CREATE)) == CONNECTIONS)
        assert len({span.resource["service.instance.id"] for span in collector.spans}) == 2


async def test_each_worker_is_scraped_on_a_port_of_its_own(tmp_path: Path) -> None:
    port = two_free_ports()
    variables = {
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
    }
    async with two_workers(tmp_path / "log", **variables) as gateway, connections(gateway.target, CONNECTIONS) as stubs:
        await asyncio.gather(*(drain(stub.CreateMessage(create())) for stub in stubs))
        pages = [await asyncio.to_thread(scrape, port + index) for index in range(2)]
    counts = [
        float(line.split()[-1])
        for page in pages
        for line in page.splitlines()
        if line.startswith("rpc_server_call_duration_seconds_count") and CREATE in line
    ]
    assert len(counts) == 2
    assert sum(counts) == CONNECTIONS


def two_free_ports() -> int:
    """The first of two neighbours."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first, contextlib.suppress(OSError):
            port = int(first.getsockname()[1])
            with socket.create_server(("127.0.0.1", port + 1)):
                return port


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return str(response.read(), "utf-8")
