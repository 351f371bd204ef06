"""A skill, its versions, and what the API tells about them, today and in its beta."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .clock import timestamp
from .skill_files import SkillFiles
from .store import Store, Stored

__all__ = ["Skill", "SkillVersion", "prebuilt_skills", "show_skill", "show_version"]

# Anthropic's own, and what they are for. They are there for everybody, and nobody changes them.
_PREBUILT = {"docx": "Word documents", "pdf": "PDF files", "pptx": "presentations", "xlsx": "spreadsheets"}
_PREBUILT_VERSION, _PREBUILT_AT = "20251013", 1_760_313_600.0
_MOST_VERSIONS = 1000


@dataclass(eq=False, kw_only=True)
class SkillVersion(Stored):
    """One upload of a skill; ``epoch`` is what the beta calls it by, the microsecond it came in."""

    skill_id: str
    files: SkillFiles
    created_at: float
    epoch: str


@dataclass(eq=False, kw_only=True)
class Skill(Stored):
    """A skill; ``name`` is its slug, and ``display_name`` None when it was given no other."""

    name: str
    source: str
    created_at: float
    updated_at: float
    display_name: str | None = None
    versions: Store[SkillVersion] = field(default_factory=lambda: Store("Skill version not found: {}", _MOST_VERSIONS))

    @property
    def latest(self) -> SkillVersion | None:
        """The newest version; None is possible in the beta only."""
        return next(iter(self.versions.newest_first()), None)


def prebuilt_skills() -> list[Skill]:
    """Return Anthropic's own skills, with numbers below those of all others."""
    at, epoch = _PREBUILT_AT, _PREBUILT_VERSION
    skills = []
    for number, (name, purpose) in enumerate(_PREBUILT.items(), -len(_PREBUILT)):
        skill = Skill(id=name, number=number, name=name, source="anthropic", created_at=at, updated_at=at)
        files = SkillFiles(name, {}, name, f"Create and read {purpose}.")
        skill.versions.add(SkillVersion(id=epoch, number=1, skill_id=name, files=files, created_at=at, epoch=epoch))
        skills.append(skill)
    return skills


def show_skill(skill: Skill, *, old: bool) -> dict[str, Any]:
    """Return the JSON object of a skill; ``old`` is the beta's."""
    latest = skill.latest
    named: dict[str, Any] = {
        "display_name": skill.display_name or skill.name,
        "latest_version_id": latest and latest.id,
        "source": {"type": skill.source},
    }
    if old:
        named = {
            "display_title": skill.display_name,
            "latest_version": latest and latest.epoch,
            "source": skill.source,
        }
    times = {"created_at": timestamp(skill.created_at), "updated_at": timestamp(skill.updated_at)}
    return {"id": skill.id, "type": "skill", **named, **times}


def show_version(version: SkillVersion, *, old: bool) -> dict[str, Any]:
    """Return the JSON object of a version; ``old`` is the beta's."""
    shown = {
        "id": version.id,
        "type": "skill_version",
        "skill_id": version.skill_id,
        "name": version.files.name,
        "description": version.files.description,
        "created_at": timestamp(version.created_at),
    }
    return shown | ({"directory": version.files.directory, "version": version.epoch} if old else {})
