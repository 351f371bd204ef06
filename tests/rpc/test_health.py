"""Health, reflection, and how a gateway is taken down."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from claude_grpc.v1.gateway_pb2 import GetServerInfoRequest
from support.stack import Stack, create, drain, open_stack, stream

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def check(stack: Stack, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(stack.channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(service=service))).status)


@pytest.mark.parametrize("service", ["", "readiness", "liveness", "claude_grpc.v1.MessagesService"])
async def test_a_gateway_that_serves_says_so(stack: Stack, service: str) -> None:
    assert await check(stack, service) == SERVING


async def test_an_unknown_service_is_not_found(stack: Stack) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(stack, "nobody")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_all_services_are_listed(stack: Stack) -> None:
    listed = await health_pb2_grpc.HealthStub(stack.channel).List(health_pb2.HealthListRequest())
    assert {"", "readiness", "liveness", "claude_grpc.v1.GatewayService"} <= listed.statuses.keys()


async def test_a_drain_ends_watches_lets_streams_end_and_refuses_new_calls() -> None:
    async with open_stack(drain_delay=0.2) as stack:
        watch = health_pb2_grpc.HealthStub(stack.channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        assert not (await stack.server.GetServerInfo(GetServerInfoRequest())).draining
        running = stack.messages.StreamMessage(stream("[[pace 0.02]] hello"))
        await anext(aiter(running))
        draining = asyncio.create_task(stack.gateway.drain())
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        assert await check(stack, "liveness") == SERVING
        assert await check(stack, "readiness") == NOT_SERVING
        assert (await stack.server.GetServerInfo(GetServerInfoRequest())).draining
        # In the delay balancers may still send calls; they are served.
        assert (await drain(stack.messages.CreateMessage(create()))).code is grpc.StatusCode.OK
        ended = await drain(running)
        assert (ended.code, ended.types[-1]) == (grpc.StatusCode.OK, "message_stop")
        await draining
        refused = await drain(stack.messages.CreateMessage(create()))
        assert refused.code is grpc.StatusCode.UNAVAILABLE


async def test_an_unknown_service_can_be_watched_until_the_drain(stack: Stack) -> None:
    watch = health_pb2_grpc.HealthStub(stack.channel).Watch(health_pb2.HealthCheckRequest(service="nobody"))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    await stack.gateway.drain()
    assert await watch.read() is grpc.aio.EOF


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_tells_of_services_and_their_files(stack: Stack, version: str) -> None:
    method = stack.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    name = "claude_grpc.v1.MessagesService"
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=name),
    ]
    listed, described = [answer async for answer in method(iter(requests))]
    assert name in {service.name for service in listed.list_services_response.service}
    files = [FileDescriptorProto.FromString(f) for f in described.file_descriptor_response.file_descriptor_proto]
    assert "claude_grpc/v1/messages.proto" in {file.name for file in files}


async def test_reflection_can_be_switched_off() -> None:
    async with open_stack(reflection=False) as stack:
        method = stack.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        ended = await drain(method(iter([b""])))
        assert ended.code is grpc.StatusCode.UNIMPLEMENTED
