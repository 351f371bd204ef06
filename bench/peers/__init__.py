"""Gateways of others, on the same upstream; see README.md for how they are installed and run."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["PEERS", "Peer"]

_HERE = Path(__file__).parent
_INSTALLED = _HERE / ".env"
_LITELLM = _INSTALLED / "litellm" / "bin" / "litellm"
_PORTKEY = _INSTALLED / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
_PATIENCE = 90.0
_KEY = "sk-bench"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _litellm_version() -> str:
    [info] = _LITELLM.parents[1].glob("lib/python*/site-packages/litellm-*.dist-info")
    return info.name.removeprefix("litellm-").removesuffix(".dist-info")


def _portkey_version() -> str:
    package = json.loads((_PORTKEY.parents[1] / "package.json").read_text())
    return str(package["version"])


@dataclass(frozen=True)
class Peer:
    """A peer, as its own documentation has it run, with one process.

    Attributes:
        program: What must be there for it to run.
        run: Its command, given the port.
        headers: What each request needs, given the upstream's URL.
        environment: Its variables, given the upstream's URL.
        version: Which one is installed.
    """

    name: str
    program: Path
    run: Callable[[int], Sequence[str | Path]]
    headers: Callable[[str], Sequence[str]]
    environment: Callable[[str], Mapping[str, str]]
    version: Callable[[], str]
    port: int = field(default_factory=_free_port)

    @property
    def is_installed(self) -> bool:
        """Whether ``install`` has been run."""
        return self.program.exists()

    @property
    def command(self) -> Sequence[str | Path]:
        """What to run."""
        return self.run(self.port)

    def wait(self, process: subprocess.Popen[str]) -> str:
        """Wait until the peer speaks HTTP; return its address, or nothing if that never comes."""
        end = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < end:
            if self._answers():
                return f"127.0.0.1:{self.port}"
            time.sleep(0.02)
        return ""

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            return False
        finally:
            connection.close()
        return True


PEERS = (
    Peer(
        "LiteLLM",
        _LITELLM,
        run=lambda port: (_LITELLM, "--config", _HERE / "litellm.yaml", "--host", "127.0.0.1", "--port", str(port)),
        headers=lambda _upstream: (f"x-api-key: {_KEY}",),
        environment=lambda upstream: {
            "BENCH_UPSTREAM": upstream,
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        },
        version=_litellm_version,
    ),
    Peer(
        "Portkey",
        _PORTKEY,
        run=lambda port: ("node", _PORTKEY, f"--port={port}", "--headless"),
        headers=lambda upstream: (
            f"x-api-key: {_KEY}",
            "x-portkey-provider: anthropic",
            f"x-portkey-custom-host: {upstream}/v1",
        ),
        environment=lambda _upstream: {"NODE_ENV": "production"},
        version=_portkey_version,
    ),
)
