"""The official SDK as a client of the resources; what it is happy with, a client of the real API is."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic, types

from claude_grpc.simulator import Simulator, SimulatorOptions

MODEL = "claude-sonnet-5"
SKILL = [("my-skill/SKILL.md", b"---\nname: my-skill\ndescription: Does it\n---\n"), ("my-skill/a.py", b"pass")]


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(api_key="any", base_url=simulator.base_url, max_retries=0) as client:
        yield client


def requests(*texts: str) -> Any:
    return [
        {
            "custom_id": f"r{place}",
            "params": {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": text}]},
        }
        for place, text in enumerate(texts)
    ]


async def test_a_batch_from_its_creation_to_its_deletion(client: AsyncAnthropic) -> None:
    batch = await client.messages.batches.create(requests=requests("Hi", "[[error 400]]", "[[expire]]", "[[cancel]]"))
    seen = [batch.processing_status]
    while batch.processing_status != "ended":
        batch = await client.messages.batches.retrieve(batch.id)
        seen.append(batch.processing_status)
    assert seen == ["in_progress", "in_progress", "ended"]
    results = {line.custom_id: line.result async for line in await client.messages.batches.results(batch.id)}
    kinds = {name: result.type for name, result in results.items()}
    assert kinds == {"r0": "succeeded", "r1": "errored", "r2": "expired", "r3": "canceled"}
    succeeded, errored = results["r0"], results["r1"]
    assert succeeded.type == "succeeded"
    assert (succeeded.message.stop_reason, succeeded.message.usage.service_tier) == ("end_turn", "batch")
    assert errored.type == "errored"
    assert errored.error.error.type == "invalid_request_error"
    assert [entry.id async for entry in client.messages.batches.list(limit=1)] == [batch.id]
    assert (await client.messages.batches.delete(batch.id)).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        await client.messages.batches.retrieve(batch.id)


async def test_a_batch_is_canceled(client: AsyncAnthropic) -> None:
    batch = await client.messages.batches.create(requests=requests("Hi", "Ho"))
    with pytest.raises(anthropic.AnthropicError, match="No `results_url`"):
        await client.messages.batches.results(batch.id)
    with pytest.raises(anthropic.BadRequestError, match="In progress batches cannot be deleted"):
        await client.messages.batches.delete(batch.id)
    assert (await client.messages.batches.cancel(batch.id)).processing_status == "canceling"
    ended = await client.messages.batches.retrieve(batch.id)
    assert (ended.processing_status, ended.request_counts.succeeded + ended.request_counts.canceled) == ("ended", 2)


async def test_batches_in_pages_both_ways(client: AsyncAnthropic) -> None:
    ids = [(await client.messages.batches.create(requests=requests("Hi"))).id for _ in range(5)][::-1]
    assert [batch.id async for batch in client.messages.batches.list(limit=2)] == ids
    before = [batch.id async for batch in client.messages.batches.list(limit=2, before_id=ids[4])]
    assert before == [ids[2], ids[3], ids[0], ids[1]]


async def test_the_beta_of_batches(client: AsyncAnthropic, simulator: Simulator) -> None:
    betas: Any = ["compact-2026-09-04"]
    batch = await client.beta.messages.batches.create(requests=requests("Hi"), betas=betas)
    simulator.advance_batches()
    results = [line async for line in await client.beta.messages.batches.results(batch.id)]
    assert [line.result.type for line in results] == ["succeeded"]
    assert simulator.requests[0].headers["anthropic-beta"] == "compact-2026-09-04"


async def test_a_wrong_batch_is_refused(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"requests\.0\.custom_id"):
        await client.messages.batches.create(requests=[requests("Hi")[0] | {"custom_id": "a b"}])


async def test_a_file_from_its_upload_to_its_deletion(client: AsyncAnthropic) -> None:
    file = await client.files.upload(file=("né.txt", b"Hello", "text/plain"), expires_in_seconds=3600)
    assert (file.filename, file.mime_type, file.size_bytes, file.downloadable) == ("né.txt", "text/plain", 5, False)
    assert file.expires_at is not None
    assert (file.expires_at - file.created_at).total_seconds() == 3600
    assert await client.files.retrieve_metadata(file.id) == file
    assert [entry.id async for entry in client.files.list(ids=[file.id, "file_1"])] == [file.id]
    assert (await client.files.delete(file.id)).type == "file_deleted"
    with pytest.raises(anthropic.NotFoundError):
        await client.files.delete(file.id)


async def test_a_file_without_a_name(client: AsyncAnthropic) -> None:
    file = await client.files.upload(file=b"Hello")
    assert (file.filename, file.mime_type) == ("unnamed.bin", "application/octet-stream")


@pytest.mark.parametrize("name", ['a"b.txt', "a\x00b.txt", "a\nb.txt"])
async def test_a_name_that_no_file_may_have(client: AsyncAnthropic, simulator: Simulator, name: str) -> None:
    with_name = (name, b"Hello")
    if "\x00" in name:
        # The SDK writes it as %00, which is a name like any other.
        assert (await client.files.upload(file=with_name)).filename == "a%00b.txt"
        return
    with pytest.raises(anthropic.BadRequestError, match="Invalid filename"):
        await client.files.upload(file=with_name)
    assert not simulator.files


async def test_files_in_pages(client: AsyncAnthropic) -> None:
    ids = [(await client.files.upload(file=("a", b"")), "")[0].id for _ in range(5)][::-1]
    assert [file.id async for file in client.files.list(limit=2)] == ids


async def test_downloads(client: AsyncAnthropic, simulator: Simulator) -> None:
    made = simulator.add_file("a.csv", b"1,2", "text/csv", expires_in=60)
    assert await (await client.files.download(made.id)).read() == b"1,2"
    async with client.files.with_streaming_response.download(made.id) as response:
        assert b"".join([chunk async for chunk in response.iter_bytes()]) == b"1,2"
    simulator.pass_time(60)
    with pytest.raises(types.FileExpiredError):
        await client.files.download(made.id)
    uploaded = await client.files.upload(file=("a", b""))
    with pytest.raises(types.FileNotDownloadableError):
        await client.files.download(uploaded.id)


async def test_the_old_beta_of_files(client: AsyncAnthropic) -> None:
    old: Any = {"betas": ["files-api-2025-04-14"]}
    file = await client.beta.files.upload(file=("a", b""), **old)
    assert "expires_at" not in file.model_fields_set
    raw = await client.beta.files.with_raw_response.list(limit=1, extra_query={"after_id": file.id}, **old)
    assert (await raw.http_response.aread()) == b'{"data":[],"has_more":false,"first_id":null,"last_id":null}'


async def test_a_message_about_a_file(client: AsyncAnthropic) -> None:
    file = await client.files.upload(file=("note.txt", b"Hello", "text/plain"))
    content: Any = [{"type": "document", "source": {"type": "file", "file_id": file.id}}]
    message = await client.messages.create(model=MODEL, max_tokens=100, messages=[{"role": "user", "content": content}])
    assert message.content[0].type == "text"
    assert "note.txt" in message.content[0].text
    await client.files.delete(file.id)
    with pytest.raises(anthropic.NotFoundError, match="File not found"):
        await client.messages.create(model=MODEL, max_tokens=100, messages=[{"role": "user", "content": content}])


async def test_models(client: AsyncAnthropic) -> None:
    listed = [model async for model in client.models.list(limit=3)]
    assert {model.lifecycle for model in listed} == {"active", "deprecated"}
    assert await client.models.retrieve(listed[0].id) == listed[0]
    assert listed[0].capabilities is not None
    assert listed[0].capabilities.batch.supported
    assert listed[0].capabilities.model_extra == {}
    retired = [model async for model in client.models.list(lifecycle=["retired"])]
    assert {model.lifecycle for model in retired} == {"retired"}
    with pytest.raises(anthropic.NotFoundError):
        await client.models.retrieve("claude-0")
    beta = await client.beta.models.retrieve(MODEL, betas=["server-side-fallback-2026-07-01"])
    assert beta.allowed_fallback_models


async def test_a_skill_from_its_creation_to_its_deletion(client: AsyncAnthropic) -> None:
    skill = await client.skills.create(files=SKILL, display_name="Mine")
    assert (skill.display_name, skill.source.type) == ("Mine", "custom")
    assert await client.skills.retrieve(skill.id) == skill
    version = await client.skills.versions.create(skill.id, files=SKILL)
    assert await client.skills.versions.retrieve(version.id, skill_id=skill.id) == version
    versions = [entry.id async for entry in client.skills.versions.list(skill.id, limit=1)]
    assert versions == [version.id, skill.latest_version_id]
    packed = await (await client.beta.skills.versions.download(version.id, skill_id=skill.id)).read()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.namelist() == ["my-skill/SKILL.md", "my-skill/a.py"]
    deleted = await client.skills.versions.delete(version.id, skill_id=skill.id)
    assert (deleted.id, deleted.type) == (version.id, "skill_version_deleted")
    assert [entry.id async for entry in client.skills.list(source="custom")] == [skill.id]
    assert (await client.skills.delete(skill.id)).type == "skill_deleted"
    with pytest.raises(anthropic.NotFoundError):
        await client.skills.retrieve(skill.id)


class TestLimits:
    @pytest.fixture
    def options(self) -> SimulatorOptions:
        return SimulatorOptions(max_file_bytes=1_000_000, max_batch_bytes=1_000_000, max_stored_bytes=1_500_000)

    async def test_what_is_too_large_is_413(self, client: AsyncAnthropic) -> None:
        with pytest.raises(anthropic.APIStatusError) as raised:
            await client.files.upload(file=("a", b"x" * 2_000_000))
        assert (raised.value.status_code, raised.value.type) == (413, "request_too_large")
        with pytest.raises(anthropic.APIStatusError) as raised:
            await client.messages.batches.create(requests=requests("x" * 2_000_000))
        assert raised.value.status_code == 413

    async def test_what_there_is_no_room_for_is_refused(self, client: AsyncAnthropic) -> None:
        await client.files.upload(file=("a", b"x" * 1_000_000))
        with pytest.raises(types.StorageQuotaExceededError):
            await client.files.upload(file=("a", b"x" * 1_000_000))


async def test_a_retry_of_an_upload_makes_one_file(simulator: Simulator) -> None:
    simulator.script("error 529 retry-after-ms=1")
    async with AsyncAnthropic(api_key="any", base_url=simulator.base_url, max_retries=1) as client:
        file = await client.files.upload(file=("a", b"Hello"))
    assert list(simulator.files) == [file.id]
