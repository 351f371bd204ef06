"""Skills: folders that come file by file, their versions, and the archive they become."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import google_crc32c
import grpc
import pytest

from claude_grpc.v1.files_pb2 import FileChunk
from claude_grpc.v1.skills_pb2 import (
    CreateSkillHeader,
    CreateSkillRequest,
    CreateSkillVersionHeader,
    CreateSkillVersionRequest,
    DeleteSkillRequest,
    DeleteSkillVersionRequest,
    DownloadSkillVersionRequest,
    GetSkillRequest,
    GetSkillVersionRequest,
    ListSkillsRequest,
    ListSkillVersionsRequest,
    SkillFile,
)
from support.stack import Stack, drain, open_stack

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
# The promise is 0.1 s; the rest is for a machine that does other things, too.
AT_ONCE = 1.0
OLD = ["skills-2025-10-02"]

MANUAL = b"---\nname: my-skill\ndescription: Does things.\n---\nDo them.\n"
FILES = {"my-skill/SKILL.md": MANUAL, "my-skill/src/r\xe9sum\xe9.py": b"print(1)\n" * 1000, "my-skill/empty": b""}


def parts(kind: type[Any], header: Any, files: Mapping[str, bytes] = FILES, size: int = 4096) -> Iterator[Any]:
    """A header, and each file with what is told of it and its chunks."""
    yield kind(header=header)
    for path, content in files.items():
        told = {"size_bytes": len(content), "sha256": hashlib.sha256(content).digest()}
        yield kind(file=SkillFile(path=path, mime_type="text/plain", **told))  # type: ignore[arg-type] # both fit
        for offset in range(0, len(content), size):
            data = content[offset : offset + size]
            yield kind(chunk=FileChunk(offset=offset, data=data, crc32c=google_crc32c.value(data)))


def skill(**header: Any) -> Iterator[Any]:
    return parts(CreateSkillRequest, CreateSkillHeader(**header))


def version(skill_id: str, files: Mapping[str, bytes] = FILES, **header: Any) -> Iterator[Any]:
    return parts(CreateSkillVersionRequest, CreateSkillVersionHeader(skill_id=skill_id, **header), files)


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
async def test_a_skill_is_created_and_comes_back_as_an_archive(engine: str) -> None:
    async with open_stack(engine=engine) as stack:
        created = (await stack.skills.CreateSkill(skill(display_name="Mine ☺"))).skill
        assert (created.type, created.display_name, created.source.type) == ("skill", "Mine ☺", "custom")
        assert created.HasField("create_time")
        assert created.HasField("update_time")
        got = (await stack.skills.GetSkill(GetSkillRequest(skill_id=created.id))).skill
        assert got == created
        request = DownloadSkillVersionRequest(skill_id=created.id, version=created.latest_version_id)
        archive, content = None, b""
        async for response in stack.skills.DownloadSkillVersion(request):
            if archive is None:
                archive = response.archive
                continue
            assert response.chunk.offset == len(content)
            assert google_crc32c.value(response.chunk.data) == response.chunk.crc32c
            content += response.chunk.data
        assert archive is not None
        assert (archive.mime_type, archive.size_bytes) == ("application/zip", len(content))
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            packed = {name: opened.read(name) for name in opened.namelist() if not name.endswith("/")}
        assert {name.partition("/")[2]: data for name, data in packed.items()} == {
            name.partition("/")[2]: data for name, data in FILES.items()
        }


async def test_versions_are_created_got_listed_and_deleted(stack: Stack) -> None:
    created = (await stack.skills.CreateSkill(skill())).skill
    more = [(await stack.skills.CreateSkillVersion(version(created.id))).version for _ in range(3)]
    assert (more[0].type, more[0].skill_id, more[0].name) == ("skill_version", created.id, "my-skill")
    assert more[0].description == "Does things."
    request = GetSkillVersionRequest(skill_id=created.id, version=more[1].id)
    assert (await stack.skills.GetSkillVersion(request)).version == more[1]
    ids: list[str] = []
    page_request = ListSkillVersionsRequest(skill_id=created.id, page_size=3)
    while not ids or page_request.page_token:
        page = await stack.skills.ListSkillVersions(page_request)
        ids += [each.id for each in page.versions]
        page_request.page_token = page.next_page_token
    assert ids == [*(each.id for each in reversed(more)), created.latest_version_id]
    gone = DeleteSkillVersionRequest(skill_id=created.id, version=more[0].id)
    deleted = await stack.skills.DeleteSkillVersion(gone)
    assert (deleted.id, deleted.type) == (more[0].id, "skill_version_deleted")
    for call in (
        stack.skills.GetSkillVersion(GetSkillVersionRequest(skill_id=created.id, version=more[0].id)),
        stack.skills.DeleteSkillVersion(gone),
        stack.skills.DownloadSkillVersion(DownloadSkillVersionRequest(skill_id=created.id, version=more[0].id)),
    ):
        ended = await drain(call)
        assert (ended.code, ended.info.reason, ended.events) == (NOT_FOUND, "NOT_FOUND", [])


async def test_skills_are_listed_by_source_and_deleted_with_their_versions(stack: Stack) -> None:
    created = [(await stack.skills.CreateSkill(skill())).skill.id for _ in range(3)]
    page = await stack.skills.ListSkills(ListSkillsRequest(source="custom", page_size=2))
    assert [each.id for each in page.skills] == created[:0:-1]
    request = ListSkillsRequest(source="custom", page_token=page.next_page_token)
    assert [each.id for each in (await stack.skills.ListSkills(request)).skills] == created[:1]
    page = await stack.skills.ListSkills(ListSkillsRequest(source="anthropic"))
    assert {each.source.type for each in page.skills} == {"anthropic"}
    deleted = await stack.skills.DeleteSkill(DeleteSkillRequest(skill_id=created[0]))
    assert (deleted.id, deleted.type) == (created[0], "skill_deleted")
    ended = await drain(stack.skills.GetSkill(GetSkillRequest(skill_id=created[0])))
    assert ended.code is NOT_FOUND


async def test_what_is_not_ones_own_is_not_permitted(stack: Stack) -> None:
    [first, *_] = (await stack.skills.ListSkills(ListSkillsRequest(source="anthropic"))).skills
    ended = await drain(stack.skills.DeleteSkill(DeleteSkillRequest(skill_id=first.id)))
    assert (ended.code, ended.info.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION")


async def test_the_shapes_of_the_old_beta_lose_nothing(stack: Stack) -> None:
    extra = json.dumps({"display_title": "Old"})
    created = (await stack.skills.CreateSkill(skill(betas=OLD, extra_json=extra))).skill
    shown = json.loads(created.extra_json)
    assert shown["display_title"] == "Old"
    assert shown["source"] == "custom"
    assert shown["latest_version"].isdigit()
    request = GetSkillVersionRequest(skill_id=created.id, version=shown["latest_version"], betas=OLD)
    got = (await stack.skills.GetSkillVersion(request)).version
    assert json.loads(got.extra_json)["version"] == shown["latest_version"]
    page = await stack.skills.ListSkills(ListSkillsRequest(betas=OLD, page_size=1))
    assert page.next_page_token
    assert json.loads(page.skills[0].extra_json)["display_title"] == "Old"


def file(path: str, **told: Any) -> CreateSkillRequest:
    return CreateSkillRequest(file=SkillFile(path=path, **told))


HEADER = CreateSkillRequest(header=CreateSkillHeader())
CHUNK = CreateSkillRequest(chunk=FileChunk(data=b"abc"))
BAD_PATHS = ["", "SKILL.md", "/a/b", "a/", "a//b", "../a/b", "a/../b", "./a", "a/.", "a\\b/c", "a/\x00", "a/b\r\nx: y"]
BAD_STREAMS: dict[str, tuple[list[CreateSkillRequest], str]] = {
    "nothing": ([], "header"),
    "no header": ([file("a/SKILL.md")], "header"),
    "a header twice": ([HEADER, HEADER], "header"),
    "no file": ([HEADER], "file"),
    "a chunk without a file": ([HEADER, CHUNK], "chunk"),
    "a chunk out of order": ([HEADER, file("a/SKILL.md"), CHUNK, CHUNK], "chunk.offset"),
    "a file that is too short": ([HEADER, file("a/b", size_bytes=4), CHUNK, file("a/SKILL.md")], "file.size_bytes"),
    "a last file that is too short": ([HEADER, file("a/SKILL.md", size_bytes=4), CHUNK], "file.size_bytes"),
    "another file": ([HEADER, file("a/SKILL.md", sha256=b"x" * 32), CHUNK], "file.sha256"),
    "a type that breaks out": ([HEADER, file("a/SKILL.md", mime_type="a/b\n")], "file.mime_type"),
    "a file of a newer version": (
        [HEADER, CreateSkillRequest(file=SkillFile.FromString(b"\x0a\x03a/b\xfa\x7f\x00"))],
        "file.#2047",
    ),
    "a name of its own in more": (
        [CreateSkillRequest(header=CreateSkillHeader(extra_json='{"display_name":"x"}'))],
        "header.extra_json",
    ),
    **{f"the path {path!r}": ([HEADER, file(path)], "file.path") for path in BAD_PATHS},
}


@pytest.mark.parametrize("what", BAD_STREAMS)
async def test_a_stream_that_is_wrong_is_refused_and_leaves_no_skill(stack: Stack, what: str) -> None:
    requests, path = BAD_STREAMS[what]
    ended = await drain(stack.skills.CreateSkill(iter(requests)))
    assert (ended.code, list(ended.violations)) == (INVALID, [path])
    for exchange in stack.simulator.requests:
        await stack.simulator.wait_closed(exchange)
        assert exchange.closed_early
    assert not (await stack.skills.ListSkills(ListSkillsRequest(source="custom"))).skills


async def test_what_upstream_refuses_is_passed_on(stack: Stack) -> None:
    ended = await drain(stack.skills.CreateSkill(parts(CreateSkillRequest, CreateSkillHeader(), {"a/b.md": b"x"})))
    assert (ended.code, ended.info.domain) == (INVALID, "api.anthropic.com")
    ended = await drain(stack.skills.CreateSkillVersion(version("skill_gone")))
    assert (ended.code, ended.info.reason) == (NOT_FOUND, "NOT_FOUND")


@pytest.mark.parametrize(("skill_id", "path"), [("", "header.skill_id"), ("..", "header.skill_id")])
async def test_a_version_needs_the_id_of_its_skill(stack: Stack, skill_id: str, path: str) -> None:
    ended = await drain(stack.skills.CreateSkillVersion(version(skill_id)))
    assert (ended.code, list(ended.violations)) == (INVALID, [path])
    assert not stack.simulator.requests


async def test_ids_that_are_none_are_told_together(stack: Stack) -> None:
    ended = await drain(stack.skills.GetSkillVersion(GetSkillVersionRequest(version="..")))
    assert ended.violations.keys() == {"skill_id", "version"}


@pytest.mark.parametrize("fault", ["reset at=100", "truncate at=100"])
async def test_an_archive_that_breaks_off_is_not_ok(stack: Stack, fault: str) -> None:
    created = (await stack.skills.CreateSkill(skill())).skill
    stack.simulator.script(fault, path="*/content")
    request = DownloadSkillVersionRequest(skill_id=created.id, version=created.latest_version_id)
    ended = await drain(stack.skills.DownloadSkillVersion(request))
    assert ended.code is grpc.StatusCode.UNAVAILABLE
    assert ended.info.metadata["partial"] == "true"
