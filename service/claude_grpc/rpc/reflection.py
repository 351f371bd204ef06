"""Server reflection, for tools like ``buf curl`` and ``grpcurl``.

As v1alpha, and as v1, whose messages are the same bytes under another name.
"""

from __future__ import annotations

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

__all__ = ["reflection_handlers"]


def reflection_handlers(services: tuple[str, ...]) -> tuple[grpc.GenericRpcHandler, ...]:
    """Handlers that tell of these services and of reflection itself."""
    names = ("grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME)
    servicer = reflection.aio.ReflectionServicer(service_names=(*services, *names))
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return tuple(grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method}) for name in names)
