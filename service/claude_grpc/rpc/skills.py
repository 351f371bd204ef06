"""``claude_grpc.v1.SkillsService``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from claude_grpc.codec import Decoder
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.downloads import chunks, told_size
from claude_grpc.rpc.fetch import Fetch, Resource
from claude_grpc.rpc.parts import Parts
from claude_grpc.rpc.uploads import Upload, extra_fields
from claude_grpc.v1 import skills_pb2

__all__ = ["SkillsServicer"]

_SKILLS, _ONE = "/v1/skills", "/v1/skills/{skill_id}"
_VERSIONS, _ONE_VERSION = f"{_ONE}/versions", f"{_ONE}/versions/{{version}}"

_SKILL, _VERSION = Decoder(skills_pb2.Skill), Decoder(skills_pb2.SkillVersion)
_CREATE = Resource("POST", _SKILLS, _SKILL)
_GET = Resource("GET", _ONE, _SKILL)
_LIST = Resource("GET", _SKILLS, Decoder(skills_pb2.ListSkillsResponse), {"source": "source"})
_DELETE = Resource("DELETE", _ONE, Decoder(skills_pb2.DeleteSkillResponse))
_CREATE_VERSION = Resource("POST", _VERSIONS, _VERSION)
_GET_VERSION = Resource("GET", _ONE_VERSION, _VERSION)
_LIST_VERSIONS = Resource("GET", _VERSIONS, Decoder(skills_pb2.ListSkillVersionsResponse))
_DELETE_VERSION = Resource("DELETE", _ONE_VERSION, Decoder(skills_pb2.DeleteSkillVersionResponse))
_CONTENT = Resource("GET", f"{_ONE_VERSION}/content", _VERSION)

_FILES, _NAME = "files[]", "display_name"


class SkillsServicer:
    """Skills and their versions.

    Args:
        fetch: The way to upstream.
        max_file_bytes: A larger file of a skill is refused.
    """

    def __init__(self, fetch: Fetch, *, max_file_bytes: int) -> None:
        self._fetch = fetch
        self._max_file_bytes = max_file_bytes

    async def create_skill(
        self, requests: AsyncIterator[skills_pb2.CreateSkillRequest], call: Call
    ) -> skills_pb2.CreateSkillResponse:
        """A new skill; its files are never held."""
        parts = Parts(requests)
        header: skills_pb2.CreateSkillHeader = await parts.header()
        name = [(_NAME, header.display_name)] if header.HasField("display_name") else []
        fields = [*name, *extra_fields(header.extra_json, {_FILES, _NAME})]
        skill = await self._upload(parts).send(self._fetch, _CREATE, header, call, fields=fields)
        return skills_pb2.CreateSkillResponse(skill=skill)

    async def get_skill(self, request: skills_pb2.GetSkillRequest, call: Call) -> skills_pb2.GetSkillResponse:
        """One skill."""
        return skills_pb2.GetSkillResponse(skill=await self._fetch.send(_GET, request, call))

    async def list_skills(self, request: skills_pb2.ListSkillsRequest, call: Call) -> skills_pb2.ListSkillsResponse:
        """A page of skills."""
        return await self._fetch.list(_LIST, request, call)

    async def delete_skill(self, request: skills_pb2.DeleteSkillRequest, call: Call) -> skills_pb2.DeleteSkillResponse:
        """A skill is no more."""
        return await self._fetch.send(_DELETE, request, call)

    async def create_skill_version(
        self, requests: AsyncIterator[skills_pb2.CreateSkillVersionRequest], call: Call
    ) -> skills_pb2.CreateSkillVersionResponse:
        """A new version of a skill; its files are never held."""
        parts = Parts(requests)
        header: skills_pb2.CreateSkillVersionHeader = await parts.header()
        fields = extra_fields(header.extra_json, {_FILES})
        version = await self._upload(parts).send(self._fetch, _CREATE_VERSION, header, call, fields=fields)
        return skills_pb2.CreateSkillVersionResponse(version=version)

    async def get_skill_version(
        self, request: skills_pb2.GetSkillVersionRequest, call: Call
    ) -> skills_pb2.GetSkillVersionResponse:
        """One version of a skill."""
        return skills_pb2.GetSkillVersionResponse(version=await self._fetch.send(_GET_VERSION, request, call))

    async def list_skill_versions(
        self, request: skills_pb2.ListSkillVersionsRequest, call: Call
    ) -> skills_pb2.ListSkillVersionsResponse:
        """A page of versions of a skill."""
        return await self._fetch.list(_LIST_VERSIONS, request, call)

    async def delete_skill_version(
        self, request: skills_pb2.DeleteSkillVersionRequest, call: Call
    ) -> skills_pb2.DeleteSkillVersionResponse:
        """A version of a skill is no more."""
        return await self._fetch.send(_DELETE_VERSION, request, call)

    async def download_skill_version(
        self, request: skills_pb2.DownloadSkillVersionRequest, call: Call
    ) -> AsyncIterator[skills_pb2.DownloadSkillVersionResponse]:
        """What is known of the archive of a version's files, then the archive."""
        async with self._fetch.download(_CONTENT, request, call) as stream:
            archive = skills_pb2.SkillVersionArchive(
                mime_type=stream.response.headers.get("content-type", ""), size_bytes=told_size(stream)
            )
            yield skills_pb2.DownloadSkillVersionResponse(archive=archive)
            async with aclosing(chunks(stream)) as pieces:
                async for chunk in pieces:
                    yield skills_pb2.DownloadSkillVersionResponse(chunk=chunk)

    def _upload(self, parts: Parts) -> Upload:
        return Upload(parts, form_field=_FILES, limit=self._max_file_bytes)
