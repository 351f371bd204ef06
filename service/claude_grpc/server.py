"""Assembly: what a gateway is made of, in which order it is built, and how it is taken down.

A drain goes: health says NOT_SERVING and every watch ends; a delay, for balancers to notice; new calls are refused
while running ones end, those that watch a batch at once; the connections upstream are closed.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2

from claude_grpc import __version__
from claude_grpc.config import ConfigurationError, Settings
from claude_grpc.rpc.batches import BatchesServicer
from claude_grpc.rpc.content import MAX_CHUNK_BYTES
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
from claude_grpc.rpc.watches import Watches
from claude_grpc.simulator import Simulator, SimulatorOptions
from claude_grpc.upstream import Endpoint, RetryPolicy, Timeouts, UpstreamClient, environment_proxy, make_transport
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


class Gateway:
    """A gateway that serves.

    Attributes:
        target: Its address, ``HOST:PORT``.
    """

    def __init__(
        self, server: grpc.aio.Server, health: Health, watches: Watches, settings: Settings, target: str
    ) -> None:
        self._server = server
        self._health = health
        self._watches = watches
        self._settings = settings
        self.target = target

    async def drain(self) -> None:
        """Stop taking calls, and let those that run come to their end."""
        _log.info("Draining", extra={"delay": self._settings.drain_delay, "grace": self._settings.drain_grace})
        self._health.drain()
        await asyncio.sleep(self._settings.drain_delay)
        # Not before the server tells its callers to go elsewhere, or they would come back here.
        self._watches.drain()
        await self._server.stop(self._settings.drain_grace)
        _log.info("Drained")


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway that serves until the context is left, which ends what still runs."""
    async with AsyncExitStack() as stack:
        base_url = str(settings.anthropic_base_url)
        if settings.simulates:
            # A batch of its own ends when it is asked for the second time, which nobody wants to wait ten seconds for.
            options = SimulatorOptions(delta_interval=0.02, batch_retry_after=1)
            simulator = await stack.enter_async_context(Simulator(options))
            base_url = simulator.base_url
            _log.warning(
                "NO CLAUDE HERE: answers come from the embedded simulator. "
                "Set ANTHROPIC_API_KEY to reach the Claude API.",
                extra={"simulator": base_url},
            )
        client = _client(settings, base_url)
        stack.push_async_callback(client.aclose)
        health = Health(_NAMES)
        watches = Watches()
        server = _server(settings, client, health, watches, base_url)
        stack.push_async_callback(server.stop, None)
        try:
            port = server.add_insecure_port(settings.listen)
        except RuntimeError:
            raise ConfigurationError(f"cannot listen on {settings.listen}; is the port taken?") from None
        await server.start()
        yield Gateway(server, health, watches, settings, f"{settings.listen.rpartition(':')[0]}:{port}")


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
        retry=RetryPolicy(max_retries=settings.max_retries),
        user_agent=f"claude-grpc/{__version__}",
        max_response_bytes=settings.max_response_bytes,
        max_event_bytes=settings.max_response_bytes,
    )


def _server(
    settings: Settings, client: UpstreamClient, health: Health, watches: Watches, base_url: str
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
    fetch = Fetch(client)
    servicers: dict[str, object] = {
        "messages": MessagesServicer(Forward(client, max_body_bytes=settings.max_body_bytes)),
        "batches": BatchesServicer(
            fetch, max_requests=settings.max_batch_requests, max_bytes=settings.max_batch_bytes, watches=watches
        ),
        "files": FilesServicer(fetch, max_file_bytes=settings.max_file_bytes),
        "models": ModelsServicer(fetch),
        "skills": SkillsServicer(fetch, max_file_bytes=settings.max_file_bytes),
        "gateway": GatewayServicer(info),
    }
    front = Front(layers=[log_call])
    server = grpc.aio.server(options=_options(settings))
    handlers = [front.handler(_SERVICES[name], servicer) for name, servicer in servicers.items()]
    # Health is asked every second and by everybody: no layer stands around it.
    handlers.append(Front().handler(_HEALTH, HealthServicer(health)))
    if settings.reflection:
        handlers.extend(reflection_handlers((*_NAMES, _HEALTH.full_name)))
    server.add_generic_rpc_handlers(tuple(handlers))
    return server


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.max_send_message_length", -1),
        # A second server on the port is a mistake that should be told.
        ("grpc.so_reuseport", 0),
        # Clients may ping every 10 s, also when they are silent; the default answers that with GOAWAY.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # And we ask after peers that are gone without a word.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # What may come of a request before it is asked for, instead of a guess that grows while we are slow: an upload
        # must not pile up here. In 2 MiB is all that a link of 300 Mbit/s brings in 50 ms.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 2 * 1024 * 1024),
        # Connections that never say what they want.
        ("grpc.server_handshake_timeout_ms", 10_000),
    ]


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Prints the address to standard output once it takes calls."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stopped.set)
    async with open_gateway(settings) as gateway:
        print(f"claude-grpc is listening on {gateway.target}", flush=True)  # noqa: T201 # for whoever started it
        _log.info("Serving", extra={"target": gateway.target, "version": __version__})
        await stopped.wait()
        await gateway.drain()
