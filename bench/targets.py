"""What is measured: the gateway, and what it is measured against."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace

from bench.peers import PEERS, Peer
from bench.processes import Cores, Started, started
from bench.programs import Programs
from claude_grpc.__main__ import GRPC_ENVIRONMENT

__all__ = ["DIRECT", "FLOOR", "GATEWAY", "PLAIN", "WINDOW", "WORKERS", "Target", "gateway", "opened_targets"]

DIRECT = "direct"
FLOOR = "bare grpc.aio"
PLAIN = "plain httpx build"
GATEWAY = "claude-grpc"
WINDOW = "claude-grpc, 20 ms window"
WORKERS = "claude-grpc, 2 workers"

_ARGUMENTS = {WINDOW: ("-merge-window", "20ms"), WORKERS: ("-connections", "32")}


@dataclass(frozen=True)
class Target:
    """One thing under load.

    Attributes:
        url: ``grpc://`` or ``http://``, for the load generator.
        server: Its process; None where only the upstream answers.
        arguments: More arguments for the load generator.
        is_peer: Whether it is somebody else's.
    """

    name: str
    url: str
    server: Started | None
    arguments: Sequence[str] = ()
    is_peer: bool = False


@contextmanager
def opened_targets(programs: Programs, cores: Cores, names: Collection[str], *, peers: bool) -> Iterator[list[Target]]:
    """The targets of these names, each a process on the server's core, before one upstream; peers as well if asked."""
    with ExitStack() as stack:
        upstream = stack.enter_context(started(programs.fake, cores=cores.upstream)).address
        targets = [Target(DIRECT, upstream, None)]
        servers: Mapping[str, Callable[[], AbstractContextManager[Started]]] = {
            # The floor has whatever the gateway gains by settings of grpc itself; who writes the plain build has not.
            FLOOR: lambda: started(_module("bench.floor"), cores=cores.server, environment=GRPC_ENVIRONMENT),
            PLAIN: lambda: started((*_module("bench.plain"), upstream), cores=cores.server),
            GATEWAY: lambda: gateway(upstream, cores.server),
            WORKERS: lambda: gateway(upstream, cores.all, "--workers", "2"),
        }
        for name, open_server in servers.items():
            if name in names:
                server = stack.enter_context(open_server())
                targets.append(Target(name, f"grpc://{server.address}", server, _ARGUMENTS.get(name, ())))
                if name == GATEWAY and WINDOW in names:
                    targets.append(replace(targets[-1], name=WINDOW, arguments=_ARGUMENTS[WINDOW]))
        targets.extend(_peer(stack, peer, upstream, cores) for peer in PEERS if peers and peer.is_installed)
        yield targets


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name)


@contextmanager
def gateway(upstream: str, cores: str, *arguments: str) -> Iterator[Started]:
    """A gateway as users run it, with all that is on by default, and telemetry to an exporter that listens."""
    environment = {
        "ANTHROPIC_API_KEY": "bench",
        "ANTHROPIC_BASE_URL": upstream,
        # A thousand streams, and calls beside them: by default a thousand in all are let in.
        "CLAUDE_GRPC_MAX_CALLS": "10000",
        "CLAUDE_GRPC_MAX_CONNECTIONS": "10000",
        "OTEL_EXPORTER_OTLP_ENDPOINT": upstream,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }
    command = (*_module("claude_grpc"), "serve", "--listen", "127.0.0.1:0", *arguments)
    with started(command, cores=cores, environment=environment) as process:
        yield process


def _peer(stack: ExitStack, peer: Peer, upstream: str, cores: Cores) -> Target:
    server = stack.enter_context(
        started(peer.command, cores=cores.server, environment=peer.environment(upstream), wait=peer.wait)
    )
    headers = [argument for header in peer.headers(upstream) for argument in ("-header", header)]
    return Target(peer.name, f"http://{server.address}", server, headers, is_peer=True)
