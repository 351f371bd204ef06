"""The server's life: what a gateway is made of, in which order it is opened, and the signals that end it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from claude_grpc import __version__
from claude_grpc.config import ConfigurationError, Settings
from claude_grpc.gateway import Gateway
from claude_grpc.rpc.abandoned import AbandonedCalls
from claude_grpc.rpc.admission import Admission
from claude_grpc.rpc.drain import Drain
from claude_grpc.rpc.front import Front
from claude_grpc.rpc.gauges import add_gauges
from claude_grpc.rpc.health import Health
from claude_grpc.rpc.layers import observe
from claude_grpc.rpc.watches import Watches
from claude_grpc.services import NAMES, admission_limits, make_client, serve_all
from claude_grpc.telemetry.lifetime import open_telemetry

__all__ = ["open_gateway", "serve"]

_log = logging.getLogger(__name__)


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway that serves until the context is left, which ends what still runs."""
    async with AsyncExitStack() as stack:
        base_url = str(settings.anthropic_base_url)
        if settings.simulates:
            base_url = await stack.enter_async_context(_simulator())
        telemetry = await stack.enter_async_context(
            open_telemetry(
                os.environ, version=__version__, base_url=base_url, max_content_bytes=settings.max_captured_bytes
            )
        )
        client = make_client(settings, base_url)
        stack.push_async_callback(client.aclose)
        abandoned = AbandonedCalls(most=settings.max_abandoned_calls, seconds=settings.abandoned_timeout)
        stack.push_async_callback(abandoned.end)
        health, watches = Health(NAMES), Watches()
        admission = Admission(admission_limits(settings))
        add_gauges(telemetry.metrics, admission, client)
        front = Front(layers=[observe(telemetry), admission.layer], silence=settings.ping_interval)
        server = serve_all(
            settings,
            front=front,
            client=client,
            abandoned=abandoned,
            watches=watches,
            health=health,
            base_url=base_url,
        )
        stack.push_async_callback(server.stop, None)
        try:
            port = server.add_insecure_port(settings.listen)
        except RuntimeError:
            raise ConfigurationError(f"cannot listen on {settings.listen}; is the port taken?") from None
        await server.start()
        yield Gateway(
            target=f"{settings.listen.rpartition(':')[0]}:{port}",
            server=server,
            front=front,
            admission=admission,
            abandoned=abandoned,
            watches=watches,
            health=health,
            phases=Drain(delay=settings.drain_delay, grace=settings.drain_grace),
        )


@asynccontextmanager
async def _simulator() -> AsyncIterator[str]:
    # A gateway that has a key needs neither its memory nor its time to start.
    from claude_grpc.simulator import Simulator, SimulatorOptions  # noqa: PLC0415

    # A batch of its own ends when it is asked for the second time, which nobody wants to wait ten seconds for.
    async with Simulator(SimulatorOptions(delta_interval=0.02, batch_retry_after=1)) as simulator:
        _log.warning(
            "NO CLAUDE HERE: answers come from the embedded simulator. Set ANTHROPIC_API_KEY to reach the Claude API.",
            extra={"simulator": simulator.base_url},
        )
        yield simulator.base_url


async def serve(settings: Settings, *, supervised: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, then drain; another one hurries. Prints the address once it takes calls.

    Args:
        settings: Of this process.
        supervised: Whether the end of standard input, which comes when the supervisor is gone, is such a signal, too.
    """
    stopped, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        (hurry if stopped.is_set() else stopped).set()

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, on_signal)
    if supervised:
        loop.add_reader(sys.stdin.fileno(), _on_input, loop, stopped)
    async with open_gateway(settings) as gateway:
        # What is here stays for good. To look through it at each full garbage collection holds up all calls for 50 ms.
        gc.freeze()
        print(f"claude-grpc is listening on {gateway.target}", flush=True)  # noqa: T201 # for whoever started it
        _log.info("Serving", extra={"target": gateway.target, "version": __version__})
        await stopped.wait()
        await gateway.drain(hurry)


def _on_input(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    # Nobody writes to it: it can be read because it has ended.
    loop.remove_reader(sys.stdin.fileno())
    stopped.set()
