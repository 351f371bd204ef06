"""The resource ``skills`` and its versions, in today's shapes and in those of its beta."""

from __future__ import annotations

from aiohttp import web

from .calls import Call, Routes
from .checks import one_of
from .clock import Clock
from .errors import ApiError, invalid
from .multipart import Form
from .options import SimulatorOptions
from .paging import check_query, page_by_cursor
from .skill_files import SkillFiles, read_skill_files
from .skill_shapes import Skill, SkillVersion, prebuilt_skills, show_skill, show_version
from .store import Quota, Reservation, Store, make_id

__all__ = ["Skills"]

_OLD_BETA = "skills-2025-10-02"
_SOURCES = ("custom", "anthropic", "anthropic_example", "plugin")
_MOST_BYTES = 30 * 1024 * 1024
_MOST_NAME = 255


class Skills:
    """Holds the skills."""

    def __init__(self, options: SimulatorOptions, clock: Clock, quota: Quota) -> None:
        self._clock = clock
        self._quota = quota
        self._epoch = 0
        prebuilt = prebuilt_skills()
        self._skills: Store[Skill] = Store("Skill not found: {}", options.max_objects + len(prebuilt))
        for skill in prebuilt:
            self._skills.add(skill)

    @property
    def routes(self) -> Routes:
        """The requests that are answered here."""
        versions = "/v1/skills/{skill_id}/versions"
        return {
            "POST /v1/skills": self._create,
            "GET /v1/skills": self._list,
            "GET /v1/skills/{skill_id}": self._retrieve,
            "DELETE /v1/skills/{skill_id}": self._delete,
            f"POST {versions}": self._create_version,
            f"GET {versions}": self._list_versions,
            f"GET {versions}/{{version}}": self._retrieve_version,
            f"DELETE {versions}/{{version}}": self._delete_version,
            f"GET {versions}/{{version}}/content": self._download_version,
        }

    async def _create(self, call: Call) -> web.StreamResponse:
        check_query(call.query)
        title = "display_title" if _is_old(call) else "display_name"
        with self._quota.reserve() as space:
            fields, files = await _read_form(call, space, title)
            wanted = fields.get(title, "")
            if len(wanted) > _MOST_NAME or "\n" in wanted:
                raise invalid(title, f"String should be a single line of at most {_MOST_NAME} characters")
            number, now = next(self._skills.numbers), self._clock.now()
            skill = Skill(
                id=make_id("skill", number),
                number=number,
                name=files.name,
                source="custom",
                created_at=now,
                updated_at=now,
                display_name=wanted or None,
            )
            self._skills.add(skill)
            self._add_version(skill, files)
            space.keep()
        return await call.send(show_skill(skill, old=_is_old(call)))

    async def _list(self, call: Call) -> web.StreamResponse:
        check_query(call.query, "page", "limit", "source")
        source = call.query.get("source")
        one_of("source", source, *_SOURCES, None)
        skills = [skill for skill in self._skills.newest_first() if source in (None, skill.source)]
        old = _is_old(call)
        return await call.send(page_by_cursor(call.query, skills, lambda skill: show_skill(skill, old=old), "skills"))

    async def _retrieve(self, call: Call, name: str) -> web.StreamResponse:
        check_query(call.query)
        return await call.send(show_skill(self._skills.find(name), old=_is_old(call)))

    async def _delete(self, call: Call, name: str) -> web.StreamResponse:
        check_query(call.query)
        skill = self._find_own(name)
        if _is_old(call) and skill.latest:
            raise ApiError(400, "Cannot delete skill with existing versions. Delete all versions first.")
        for version in skill.versions:
            self._quota.give(version.files.size)
        self._skills.remove(skill)
        return await call.send({"id": skill.id, "type": "skill_deleted"})

    async def _create_version(self, call: Call, name: str) -> web.StreamResponse:
        check_query(call.query)
        skill = self._find_own(name)
        with self._quota.reserve() as space:
            _, files = await _read_form(call, space)
            if files.name != skill.name:
                raise ApiError(400, f"SKILL.md: name must stay `{skill.name}`, not `{files.name}`")
            version = self._add_version(skill, files)
            space.keep()
        return await call.send(show_version(version, old=_is_old(call)))

    async def _list_versions(self, call: Call, name: str) -> web.StreamResponse:
        check_query(call.query, "page", "limit")
        versions, old = self._skills.find(name).versions.newest_first(), _is_old(call)
        return await call.send(page_by_cursor(call.query, versions, lambda it: show_version(it, old=old), name))

    async def _retrieve_version(self, call: Call, name: str, version: str) -> web.StreamResponse:
        check_query(call.query)
        found = _find_version(self._skills.find(name), version, call)
        return await call.send(show_version(found, old=_is_old(call)))

    async def _delete_version(self, call: Call, name: str, version: str) -> web.StreamResponse:
        check_query(call.query)
        skill = self._find_own(name)
        found = _find_version(skill, version, call)
        if not _is_old(call) and len(skill.versions) == 1:
            raise ApiError(400, "A skill holds at least one version. Delete the skill instead.")
        skill.versions.remove(found)
        skill.updated_at = self._clock.now()
        self._quota.give(found.files.size)
        return await call.send({"id": version, "type": "skill_version_deleted"})

    async def _download_version(self, call: Call, name: str, version: str) -> web.StreamResponse:
        check_query(call.query)
        packed = _find_version(self._find_own(name), version, call).files.pack()
        return await call.send_content([packed], len(packed), "application/zip")

    def _find_own(self, name: str) -> Skill:
        skill = self._skills.find(name)
        if skill.source != "custom":
            raise ApiError(403, "Skills published by Anthropic are read-only")
        return skill

    def _add_version(self, skill: Skill, files: SkillFiles) -> SkillVersion:
        number, now = next(self._skills.numbers), self._clock.now()
        # Versions were named by the microsecond they came in, so no two may share one.
        self._epoch = max(self._epoch + 1, int(now * 1_000_000))
        version = SkillVersion(
            id=make_id("skver", number),
            number=number,
            skill_id=skill.id,
            files=files,
            created_at=now,
            epoch=str(self._epoch),
        )
        skill.versions.add(version)
        skill.updated_at = now
        return version


def _is_old(call: Call) -> bool:
    return _OLD_BETA in call.caller.betas


async def _read_form(call: Call, space: Reservation, *fields: str) -> tuple[dict[str, str], SkillFiles]:
    """Return the form's fields, and its files, which come as parts named ``files[]`` with their paths."""
    form = Form(call.request.headers.get("content-type", ""), call.body.chunks(2 * _MOST_BYTES))
    values: dict[str, str] = {}
    contents: dict[str, bytes] = {}
    async for part in form.parts():
        if part.name in fields and part.name not in values:
            values[part.name] = await part.text()
        elif part.name not in ("files[]", "files") or not part.filename:
            raise invalid(part.name, "Extra inputs are not permitted")
        elif part.filename in contents:
            raise ApiError(400, f"files: {part.filename} was sent twice")
        else:
            contents[part.filename] = await part.read(_MOST_BYTES - space.size)
            space.take(len(contents[part.filename]))
    return values, read_skill_files(contents)


def _find_version(skill: Skill, name: str, call: Call) -> SkillVersion:
    if not _is_old(call):
        return skill.versions.find(name)
    for version in skill.versions:
        if version.epoch == name:
            return version
    raise ApiError(404, f"Skill version not found: {name}")
