"""What upstream says no to, of each method that is no conversation: the same row of the table for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from socket import socket
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from claude_grpc.v1 import batches_pb2, files_pb2, models_pb2, skills_pb2
from support.stack import Stack, drain, open_stack, params

Code = grpc.StatusCode

SERVICES = {
    "batches": batches_pb2.DESCRIPTOR.services_by_name["BatchesService"],
    "files": files_pb2.DESCRIPTOR.services_by_name["FilesService"],
    "models": models_pb2.DESCRIPTOR.services_by_name["ModelsService"],
    "skills": skills_pb2.DESCRIPTOR.services_by_name["SkillsService"],
}
METHODS = [(name, method) for name, service in SERVICES.items() for method in service.methods]

ANSWERS = {
    400: (Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    401: (Code.UNAUTHENTICATED, "AUTHENTICATION"),
    403: (Code.PERMISSION_DENIED, "PERMISSION"),
    404: (Code.NOT_FOUND, "NOT_FOUND"),
    409: (Code.ABORTED, "CONFLICT"),
    413: (Code.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"),
    429: (Code.RESOURCE_EXHAUSTED, "RATE_LIMIT"),
    500: (Code.INTERNAL, "API_ERROR"),
    529: (Code.UNAVAILABLE, "OVERLOADED"),
}
# What a client stream has behind its header.
PARTS: dict[str, list[Message]] = {
    "CreateMessageBatch": [
        batches_pb2.CreateMessageBatchRequest(item=batches_pb2.MessageBatchItem(custom_id="a", params=params()))
    ],
    "UploadFile": [files_pb2.UploadFileRequest(chunk=files_pb2.FileChunk(data=b"a"))],
    "CreateSkill": [skills_pb2.CreateSkillRequest(file=skills_pb2.SkillFile(path="a/SKILL.md"))],
    "CreateSkillVersion": [skills_pb2.CreateSkillVersionRequest(file=skills_pb2.SkillFile(path="a/SKILL.md"))],
}


def requests_of(method: MethodDescriptor) -> Any:
    """What a caller sends who has ids for everything."""
    request: Any = message_factory.GetMessageClass(method.input_type)()
    if not method.client_streaming:
        return _with_ids(request)
    _with_ids(request.header)
    request.header.SetInParent()
    sent: Iterable[Message] = [request, *PARTS[method.name]]
    return iter(sent)


def _with_ids(message: Any) -> Any:
    for field in message.DESCRIPTOR.fields:
        if field.name in {"batch_id", "file_id", "model_id", "skill_id", "version", "filename"}:
            setattr(message, field.name, "some")
    return message


@pytest.mark.parametrize(("service", "method"), METHODS, ids=[method.name for _, method in METHODS])
async def test_a_method_ends_with_what_upstream_said(stack: Stack, service: str, method: MethodDescriptor) -> None:
    for status, (code, reason) in ANSWERS.items():
        stack.simulator.script(f"error {status}")
        ended = await drain(getattr(getattr(stack, service), method.name)(requests_of(method)))
        assert (ended.code, ended.info.reason, ended.events) == (code, reason, []), status
        assert (ended.info.domain, ended.info.metadata["httpStatus"]) == ("api.anthropic.com", str(status))
        assert ended.info.metadata["partial"] == "false"
        assert ended.trailers["request-id"] == ended.info.metadata["requestId"] != ""
        assert (ended.retry_seconds is not None) == (status in {429, 529})


async def test_what_found_no_upstream_can_be_tried_again() -> None:
    with socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with open_stack(ANTHROPIC_BASE_URL=url) as stack:
            for service, method in METHODS:
                ended = await drain(getattr(getattr(stack, service), method.name)(requests_of(method)))
                assert (ended.code, ended.info.reason) == (Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"), method.name
                assert ended.info.metadata["safeToRetry"] == "true"
                assert ended.retry_seconds is not None
