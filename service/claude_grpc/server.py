"""Assembly: what a gateway is made of, in which order it is built, and how it is taken down.

A drain goes: health says NOT_SERVING and every watch ends; a delay, for balancers to notice; new calls are refused
while running ones end; what runs too long is ended; the connections upstream are closed. A second signal goes straight
to the ends.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from math import inf
from typing import Any
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2

from claude_grpc import __version__
from claude_grpc.config import ConfigurationError, Settings
from claude_grpc.engine import make_server
from claude_grpc.rpc.abandoned import AbandonedCalls
from claude_grpc.rpc.admission import Admission, AdmissionLimits
from claude_grpc.rpc.batches import BatchesServicer
from claude_grpc.rpc.content import MAX_CHUNK_BYTES
from claude_grpc.rpc.deadline import DeadlinePolicy
from claude_grpc.rpc.drain import Drain, Phase
from claude_grpc.rpc.fallback import FallbackPolicy
from claude_grpc.rpc.fetch import Fetch
from claude_grpc.rpc.files import FilesServicer
from claude_grpc.rpc.forward import Forward
from claude_grpc.rpc.front import Front
from claude_grpc.rpc.gateway import SCHEMA_REVISION, GatewayServicer
from claude_grpc.rpc.health import Health, HealthServicer
from claude_grpc.rpc.layers import log_call
from claude_grpc.rpc.messages import MessagesServicer
from claude_grpc.rpc.models import ModelsServicer
from claude_grpc.rpc.reflection import reflection_handlers
from claude_grpc.rpc.skills import SkillsServicer
from claude_grpc.simulator import Simulator, SimulatorOptions
from claude_grpc.upstream import (
    BreakerPolicy,
    Endpoint,
    RetryBudget,
    RetryPolicy,
    Timeouts,
    UpstreamClient,
    environment_proxy,
    make_transport,
)
from claude_grpc.v1 import batches_pb2, files_pb2, gateway_pb2, messages_pb2, models_pb2, skills_pb2

__all__ = ["Gateway", "open_gateway", "serve"]

_log = logging.getLogger(__name__)

_SERVICES = {
    "messages": messages_pb2.DESCRIPTOR.services_by_name["MessagesService"],
    "batches": batches_pb2.DESCRIPTOR.services_by_name["BatchesService"],
    "files": files_pb2.DESCRIPTOR.services_by_name["FilesService"],
    "models": models_pb2.DESCRIPTOR.services_by_name["ModelsService"],
    "skills": skills_pb2.DESCRIPTOR.services_by_name["SkillsService"],
    "gateway": gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"],
}
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
_NAMES = tuple(service.full_name for service in _SERVICES.values())
# For the last words to calls that are ended; and longer than any grace, which is ours to measure.
_LAST_SECONDS = 2.0
_LONG_SECONDS = 1e6


class Gateway:
    """A gateway that serves.

    Attributes:
        target: Its address, ``HOST:PORT``.
    """

    def __init__(
        self,
        target: str,
        *,
        server: grpc.aio.Server,
        front: Front,
        admission: Admission,
        abandoned: AbandonedCalls,
        health: Health,
        drain: Drain,
    ) -> None:
        self.target = target
        self._server = server
        self._front = front
        self._admission = admission
        self._abandoned = abandoned
        self._health = health
        self._drain = drain

    async def drain(self, hurry: asyncio.Event | None = None) -> None:
        """Stop taking calls, and let those that run come to their end, until ``hurry`` is set."""
        hurry = hurry or asyncio.Event()
        self._drain.signal(time.monotonic())
        self._health.drain()
        _log.info("Draining: health says NOT_SERVING")
        await self._pass(Phase.LEAVING, hurry, _never())
        _log.info("Draining: no more calls are taken")
        self._admission.close()
        stopping = asyncio.create_task(self._server.stop(_LONG_SECONDS))
        await self._pass(Phase.FINISHING, hurry, self._idle())
        self._front.calls.end()
        await self._abandoned.end()
        await self._server.stop(_LAST_SECONDS)
        await stopping
        _log.info("Drained")

    async def _pass(self, phase: Phase, hurry: asyncio.Event, idle: Coroutine[Any, Any, None]) -> None:
        """Wait for the end of a phase: its time is up, somebody hurries, or nothing runs any more."""
        hurried, rested = asyncio.create_task(hurry.wait()), asyncio.create_task(idle)
        while self._drain.phase is phase:
            left = max(self._drain.until - time.monotonic(), 0)
            await asyncio.wait([hurried, rested], timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if hurried.done():
                self._drain.signal(time.monotonic())
            elif rested.done():
                self._drain.idle()
            self._drain.tick(time.monotonic())
        hurried.cancel()
        rested.cancel()

    async def _idle(self) -> None:
        await self._front.calls.idle()
        await self._abandoned.idle()


async def _never() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway that serves until the context is left, which ends what still runs."""
    async with AsyncExitStack() as stack:
        base_url = str(settings.anthropic_base_url)
        if settings.simulates:
            simulator = await stack.enter_async_context(Simulator(SimulatorOptions(delta_interval=0.02)))
            base_url = simulator.base_url
            _log.warning(
                "NO CLAUDE HERE: answers come from the embedded simulator. "
                "Set ANTHROPIC_API_KEY to reach the Claude API.",
                extra={"simulator": base_url},
            )
        client = _client(settings, base_url)
        stack.push_async_callback(client.aclose)
        abandoned = AbandonedCalls(most=settings.max_abandoned_calls, seconds=settings.abandoned_timeout)
        stack.push_async_callback(abandoned.end)
        health = Health(_NAMES)
        admission = Admission(_admission_limits(settings))
        front = Front(layers=[log_call, admission.layer], silence=settings.ping_interval)
        server = _server(settings, front=front, client=client, abandoned=abandoned, health=health, base_url=base_url)
        stack.push_async_callback(server.stop, None)
        try:
            port = server.add_insecure_port(settings.listen)
        except RuntimeError:
            raise ConfigurationError(f"cannot listen on {settings.listen}; is the port taken?") from None
        await server.start()
        yield Gateway(
            f"{settings.listen.rpartition(':')[0]}:{port}",
            server=server,
            front=front,
            admission=admission,
            abandoned=abandoned,
            health=health,
            drain=Drain(delay=settings.drain_delay, grace=settings.drain_grace),
        )


def _client(settings: Settings, base_url: str) -> UpstreamClient:
    timeouts = Timeouts(
        connect=settings.connect_timeout,
        read=settings.read_timeout,
        write=settings.write_timeout,
        pool=settings.pool_timeout,
    )
    key, token = settings.anthropic_api_key, settings.anthropic_auth_token
    endpoint = Endpoint(
        base_url=base_url,
        # The simulator takes any key, and a real one is none of its business.
        api_key="simulator" if settings.simulates else key.get_secret_value() if key else None,
        auth_token=token.get_secret_value() if token and not settings.simulates else None,
        anthropic_version=settings.anthropic_version,
    )
    transport = make_transport(
        settings.engine, proxy=environment_proxy(base_url), max_connections=settings.max_connections
    )
    return UpstreamClient(
        transport,
        endpoint,
        timeouts=timeouts,
        retry=RetryPolicy(max_retries=settings.max_retries, max_wait=settings.max_retry_wait),
        budget=RetryBudget(tokens=settings.retry_budget or inf),
        breaker=BreakerPolicy(failures=settings.breaker_failures or inf, pause=settings.breaker_pause),
        user_agent=f"claude-grpc/{__version__}",
        max_response_bytes=settings.max_response_bytes,
        max_event_bytes=settings.max_response_bytes,
    )


def _admission_limits(settings: Settings) -> AdmissionLimits:
    return AdmissionLimits(
        max_calls=settings.max_calls,
        max_queued=settings.max_queued_calls,
        queue_seconds=settings.queue_timeout,
        max_bytes=settings.max_bytes_in_flight,
        max_request_bytes=settings.max_request_bytes,
    )


def _server(
    settings: Settings,
    *,
    front: Front,
    client: UpstreamClient,
    abandoned: AbandonedCalls,
    health: Health,
    base_url: str,
) -> grpc.aio.Server:
    info = gateway_pb2.GetServerInfoResponse(
        version=__version__,
        schema_revision=SCHEMA_REVISION,
        anthropic_version=settings.anthropic_version,
        upstream_host=urlsplit(base_url).netloc.rpartition("@")[2],
        simulated=settings.simulates,
        limits=gateway_pb2.Limits(
            max_request_bytes=settings.max_request_bytes,
            max_body_bytes=settings.max_body_bytes,
            max_batch_requests=settings.max_batch_requests,
            max_batch_bytes=settings.max_batch_bytes,
            max_file_bytes=settings.max_file_bytes,
            max_chunk_bytes=MAX_CHUNK_BYTES,
        ),
    )
    deadlines = DeadlinePolicy(default=settings.default_deadline, margin=settings.deadline_margin)
    forward = Forward(
        client,
        max_body_bytes=settings.max_body_bytes,
        deadlines=deadlines,
        fallbacks=FallbackPolicy(settings.fallback_models),
    )
    fetch = Fetch(client, deadlines)
    servicers: dict[str, object] = {
        "messages": MessagesServicer(forward, abandoned),
        "batches": BatchesServicer(fetch, max_requests=settings.max_batch_requests, max_bytes=settings.max_batch_bytes),
        "files": FilesServicer(fetch, max_file_bytes=settings.max_file_bytes),
        "models": ModelsServicer(fetch),
        "skills": SkillsServicer(fetch, max_file_bytes=settings.max_file_bytes),
        "gateway": GatewayServicer(info, client.breakers, health.is_draining),
    }
    server = make_server(settings)
    handlers = [front.handler(_SERVICES[name], servicer) for name, servicer in servicers.items()]
    # Health is asked every second and by everybody: no layer stands around it.
    handlers.append(Front().handler(_HEALTH, HealthServicer(health)))
    if settings.reflection:
        handlers.extend(reflection_handlers((*_NAMES, _HEALTH.full_name)))
    server.add_generic_rpc_handlers(tuple(handlers))
    return server


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
        print(f"claude-grpc is listening on {gateway.target}", flush=True)  # noqa: T201 # for whoever started it
        _log.info("Serving", extra={"target": gateway.target, "version": __version__})
        await stopped.wait()
        await gateway.drain(hurry)


def _on_input(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    # Nobody writes to it: it can be read because it has ended.
    loop.remove_reader(sys.stdin.fileno())
    stopped.set()
