"""What batches, files, models and skills tell: a bounded number of series, and nothing of what was sent."""

from __future__ import annotations

import random
from typing import Any

import pytest

from claude_grpc.v1.batches_pb2 import (
    GetMessageBatchRequest,
    StreamMessageBatchResultsRequest,
    WatchMessageBatchRequest,
)
from claude_grpc.v1.files_pb2 import DownloadFileRequest, GetFileRequest
from claude_grpc.v1.models_pb2 import GetModelRequest
from claude_grpc.v1.skills_pb2 import GetSkillRequest
from support.otlp import Collector
from support.resources import ended_batch, file_of, skill_of
from support.stack import create, drain, open_stack

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
SECRET = "canary-content-of-a-caller"


async def test_hostile_names_and_metadata_make_no_series(collector: Collector) -> None:
    rng = random.Random(6)
    async with open_stack() as stack:

        async def call_all() -> None:
            name = f"{rng.getrandbits(64):x}"
            metadata: Any = ((f"x-{name}", name), ("traceparent", name), ("user-agent", name), ("baggage", f"a={name}"))
            hostile = [
                stack.messages.CreateMessage(create(model=f"model-{name}"), metadata=metadata),
                stack.models.GetModel(GetModelRequest(model_id=f"model-{name}"), metadata=metadata),
                stack.files.GetFile(GetFileRequest(file_id=name), metadata=metadata),
                stack.files.DownloadFile(DownloadFileRequest(file_id=name), metadata=metadata),
                stack.skills.GetSkill(GetSkillRequest(skill_id=name, betas=[name]), metadata=metadata),
                stack.batches.GetMessageBatch(GetMessageBatchRequest(batch_id=name), metadata=metadata),
                stack.batches.WatchMessageBatch(WatchMessageBatchRequest(batch_id=name), metadata=metadata),
                stack.files.UploadFile(file_of(name=f"{name}.txt"), metadata=metadata),
            ]
            for call in hostile:
                await drain(call)

        for _ in range(25):
            await call_all()
    series = {name: len(collector.points(name)) for name in collector.metrics}
    labels = {
        str(value) for name in collector.metrics for point, _ in collector.points(name) for value in point.values()
    }
    # One for each method and each way to end, of which there are eight and few.
    assert max(series.values()) < 20, series
    assert not {label for label in labels if label.startswith("model-")}


@pytest.mark.parametrize("captured", ["", "true"])
async def test_what_is_uploaded_is_never_told_even_where_the_content_of_messages_is(
    collector: Collector, export_to: Any, captured: str, caplog: pytest.LogCaptureFixture
) -> None:
    export_to(collector.grpc_url, **{CAPTURE: captured})
    caplog.set_level("DEBUG")
    async with open_stack() as stack:
        batch_id = await ended_batch(stack, f"{SECRET} one", f"[[error 400]] {SECRET} two")
        results = await drain(
            stack.batches.StreamMessageBatchResults(StreamMessageBatchResultsRequest(batch_id=batch_id))
        )
        assert SECRET in str(results.events)
        uploaded = await drain(stack.files.UploadFile(file_of(SECRET.encode(), f"{SECRET}.txt [[downloadable]]")))
        file_id = uploaded.events[0].file.id  # type: ignore[attr-defined]
        assert len((await drain(stack.files.DownloadFile(DownloadFileRequest(file_id=file_id)))).events) == 2
        manual = f"---\nname: a-skill\ndescription: {SECRET}\n---\n".encode()
        await drain(stack.skills.CreateSkill(skill_of(manual)))
    assert len(collector.spans) > 15
    assert SECRET not in str(collector.raw)
    assert SECRET not in caplog.text
