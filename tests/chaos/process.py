"""Gateways as processes whose memory, descriptors and tasks can be read; for what a test's own would blur."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc

from claude_grpc.v1.files_pb2_grpc import FilesServiceStub
from claude_grpc.v1.messages_pb2_grpc import MessagesServiceStub
from support.processes import clean_environment

__all__ = ["Figures", "MeasuredGateway", "measured_gateway"]

_SCRIPT = Path(__file__).with_name("measured_gateway.py")


@dataclass(frozen=True)
class Figures:
    """How a process is: resident bytes now and at most, open descriptors, asyncio tasks, memory blocks of Python."""

    memory: int
    peak: int
    descriptors: int
    tasks: int
    blocks: int = 0


@dataclass(frozen=True)
class MeasuredGateway:
    """A gateway process that takes calls at ``target``."""

    target: str
    process: asyncio.subprocess.Process

    async def figures(self) -> Figures:
        """How it is now, after a garbage collection."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        told = json.loads(await self.process.stdout.readline())
        proc = Path(f"/proc/{self.process.pid}")
        status = (proc / "status").read_text()
        return Figures(
            memory=_kilobytes("VmRSS", status),
            peak=_kilobytes("VmHWM", status),
            descriptors=len(list((proc / "fd").iterdir())),
            **told,
        )

    async def settled(self, before: Figures, seconds: float = 30, *, idle: Callable[[], int] = lambda: 0) -> Figures:
        """How it is once tasks and descriptors are no more than before, or after so many seconds.

        Descriptors are told without those of as many idle connections: such as wait for the next call are no leak.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            now = await self.figures()
            now = replace(now, descriptors=now.descriptors - idle())
            back = now.tasks <= before.tasks and now.descriptors <= before.descriptors
            if back or asyncio.get_running_loop().time() > deadline:
                return now
            await asyncio.sleep(0.1)


@asynccontextmanager
async def measured_gateway(upstream: tuple[str, int], **settings: object) -> AsyncIterator[MeasuredGateway]:
    """A gateway process before an upstream, with these settings, ended with the context."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(_SCRIPT),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=clean_environment(
            ANTHROPIC_API_KEY="key",
            ANTHROPIC_BASE_URL=f"http://{upstream[0]}:{upstream[1]}",
            CLAUDE_GRPC_LISTEN="127.0.0.1:0",
            GRPC_ENABLE_FORK_SUPPORT="0",
            **{f"CLAUDE_GRPC_{name.upper()}": str(value) for name, value in settings.items()},
        ),
    )
    try:
        assert process.stdout is not None
        target = (await process.stdout.readline()).decode().strip()
        assert target, "the gateway did not start"
        yield MeasuredGateway(target, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def stub(channel: grpc.aio.Channel) -> MessagesServiceStub:
    """The stub for a channel."""
    return MessagesServiceStub(channel)  # type: ignore[no-untyped-call]


def files(channel: grpc.aio.Channel) -> FilesServiceStub:
    """The stub for files."""
    return FilesServiceStub(channel)  # type: ignore[no-untyped-call]


def _kilobytes(name: str, status: str) -> int:
    found = re.search(rf"^{name}:\s*(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
