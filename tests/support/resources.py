"""The streams of requests that make batches, files and skills, as small as they can be."""

from __future__ import annotations

from collections.abc import Iterator

from claude_grpc.v1.batches_pb2 import CreateMessageBatchHeader, CreateMessageBatchRequest, MessageBatchItem
from claude_grpc.v1.files_pb2 import FileChunk, UploadFileHeader, UploadFileRequest
from claude_grpc.v1.skills_pb2 import CreateSkillHeader, CreateSkillRequest, SkillFile
from support.stack import Stack, params


def batch_of(*texts: str) -> Iterator[CreateMessageBatchRequest]:
    """The requests for a batch of these prompts."""
    yield CreateMessageBatchRequest(header=CreateMessageBatchHeader())
    for number, text in enumerate(texts):
        yield CreateMessageBatchRequest(item=MessageBatchItem(custom_id=f"c{number}", params=params(text)))


def file_of(content: bytes = b"hello", name: str = "a.txt [[downloadable]]") -> Iterator[UploadFileRequest]:
    """The requests for a file."""
    yield UploadFileRequest(header=UploadFileHeader(filename=name, mime_type="text/plain"))
    yield UploadFileRequest(chunk=FileChunk(data=content))


def skill_of(manual: bytes = b"---\nname: a-skill\ndescription: Does it.\n---\n") -> Iterator[CreateSkillRequest]:
    """The requests for a skill of one file."""
    yield CreateSkillRequest(header=CreateSkillHeader())
    yield CreateSkillRequest(file=SkillFile(path="a-skill/SKILL.md", mime_type="text/markdown"))
    yield CreateSkillRequest(chunk=FileChunk(data=manual))


async def ended_batch(stack: Stack, *texts: str) -> str:
    """The id of a batch of these prompts that has ended."""
    batch_id: str = (await stack.batches.CreateMessageBatch(batch_of(*texts))).batch.id
    stack.simulator.advance_batches()
    return batch_id
