"""What a gateway serves: the servicers, made as the settings say, behind one front."""

from __future__ import annotations

from math import inf
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2

from claude_grpc import __version__
from claude_grpc.config import Settings
from claude_grpc.engine import make_server
from claude_grpc.rpc.abandoned import AbandonedCalls
from claude_grpc.rpc.admission import AdmissionLimits
from claude_grpc.rpc.batches import BatchesServicer
from claude_grpc.rpc.content import MAX_CHUNK_BYTES
from claude_grpc.rpc.deadline import DeadlinePolicy
from claude_grpc.rpc.fallback import FallbackPolicy
from claude_grpc.rpc.fetch import Fetch
from claude_grpc.rpc.files import FilesServicer
from claude_grpc.rpc.forward import Forward
from claude_grpc.rpc.front import Front
from claude_grpc.rpc.gateway import SCHEMA_REVISION, GatewayServicer
from claude_grpc.rpc.health import Health, HealthServicer
from claude_grpc.rpc.messages import MessagesServicer
from claude_grpc.rpc.models import ModelsServicer
from claude_grpc.rpc.reflection import reflection_handlers
from claude_grpc.rpc.skills import SkillsServicer
from claude_grpc.rpc.watches import Watches
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

__all__ = ["NAMES", "SERVICES", "admission_limits", "make_client", "serve_all"]

SERVICES = {
    "messages": messages_pb2.DESCRIPTOR.services_by_name["MessagesService"],
    "batches": batches_pb2.DESCRIPTOR.services_by_name["BatchesService"],
    "files": files_pb2.DESCRIPTOR.services_by_name["FilesService"],
    "models": models_pb2.DESCRIPTOR.services_by_name["ModelsService"],
    "skills": skills_pb2.DESCRIPTOR.services_by_name["SkillsService"],
    "gateway": gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"],
}
"""What is served, by short names."""
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
NAMES = tuple(service.full_name for service in SERVICES.values())
"""The full names of the services whose health is told."""


def make_client(settings: Settings, base_url: str) -> UpstreamClient:
    """The way to the Claude API, which is at ``base_url``."""
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


def admission_limits(settings: Settings) -> AdmissionLimits:
    """How much is taken at once."""
    return AdmissionLimits(
        max_calls=settings.max_calls,
        max_queued=settings.max_queued_calls,
        queue_seconds=settings.queue_timeout,
        max_bytes=settings.max_bytes_in_flight,
        max_request_bytes=settings.max_request_bytes,
    )


def serve_all(
    settings: Settings,
    *,
    front: Front,
    client: UpstreamClient,
    abandoned: AbandonedCalls,
    watches: Watches,
    health: Health,
    base_url: str,
) -> grpc.aio.Server:
    """A server with all services, which has no port and has not been started."""
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
        "batches": BatchesServicer(
            fetch, max_requests=settings.max_batch_requests, max_bytes=settings.max_batch_bytes, watches=watches
        ),
        "files": FilesServicer(fetch, max_file_bytes=settings.max_file_bytes),
        "models": ModelsServicer(fetch),
        "skills": SkillsServicer(fetch, max_file_bytes=settings.max_file_bytes),
        "gateway": GatewayServicer(_info(settings, base_url), client.breakers, health.is_draining),
    }
    handlers = [front.handler(SERVICES[name], servicer) for name, servicer in servicers.items()]
    # Health is asked every second and by everybody: no layer stands around it.
    handlers.append(Front().handler(_HEALTH, HealthServicer(health)))
    if settings.reflection:
        handlers.extend(reflection_handlers((*NAMES, _HEALTH.full_name)))
    server = make_server(settings)
    server.add_generic_rpc_handlers(tuple(handlers))
    return server


def _info(settings: Settings, base_url: str) -> gateway_pb2.GetServerInfoResponse:
    return gateway_pb2.GetServerInfoResponse(
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
