"""All methods that are no conversation, each with a call that a caller could make who has ids for everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from claude_grpc.v1 import batches_pb2, files_pb2, models_pb2, skills_pb2
from claude_grpc.v1.options_pb2 import CallOptions
from support.stack import Stack, params

__all__ = ["METHODS", "ResourceMethod"]

_SERVICES = {
    "batches": batches_pb2.DESCRIPTOR.services_by_name["BatchesService"],
    "files": files_pb2.DESCRIPTOR.services_by_name["FilesService"],
    "models": models_pb2.DESCRIPTOR.services_by_name["ModelsService"],
    "skills": skills_pb2.DESCRIPTOR.services_by_name["SkillsService"],
}
# What a client stream has behind its header.
_PARTS: dict[str, list[Message]] = {
    "CreateMessageBatch": [
        batches_pb2.CreateMessageBatchRequest(item=batches_pb2.MessageBatchItem(custom_id="a", params=params()))
    ],
    "UploadFile": [files_pb2.UploadFileRequest(chunk=files_pb2.FileChunk(data=b"a"))],
    "CreateSkill": [skills_pb2.CreateSkillRequest(file=skills_pb2.SkillFile(path="a/SKILL.md"))],
    "CreateSkillVersion": [skills_pb2.CreateSkillVersionRequest(file=skills_pb2.SkillFile(path="a/SKILL.md"))],
}


@dataclass(frozen=True)
class ResourceMethod:
    """A method, and the short name of its service."""

    service: str
    descriptor: MethodDescriptor

    def __str__(self) -> str:
        return str(self.descriptor.name)

    @property
    def head(self) -> str:
        """Path of the message that holds for the whole call; empty if it is the request itself."""
        return "header" if self.descriptor.client_streaming else ""

    def call(self, stack: Stack, options: CallOptions | None = None) -> Any:
        """The call, begun."""
        request: Any = message_factory.GetMessageClass(self.descriptor.input_type)()
        head = request.header if self.head else request
        head.SetInParent()
        for field in head.DESCRIPTOR.fields:
            if field.name in {"batch_id", "file_id", "model_id", "skill_id", "version", "filename"}:
                setattr(head, field.name, "some")
        if options is not None:
            head.call_options.CopyFrom(options)
        method = getattr(getattr(stack, self.service), str(self))
        return method(iter([request, *_PARTS[str(self)]]) if self.head else request)


METHODS = [ResourceMethod(name, method) for name, service in _SERVICES.items() for method in service.methods]
