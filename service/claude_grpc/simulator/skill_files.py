"""The files of a skill's version: one directory with a SKILL.md, checked, and packed for a download."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import ApiError

__all__ = ["SkillFiles", "read_skill_files"]

_NAME = re.compile(r"[a-z0-9-]{1,64}")
_RESERVED = ("anthropic", "claude")
_MOST_DESCRIPTION = 1024
_FRONTMATTER = re.compile(r"---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|$)", re.DOTALL)
_FIELD = re.compile(r"([\w-]+):[ \t]*(.*)")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class SkillFiles:
    """What was uploaded: its directory, the contents by their paths in it, and what SKILL.md says."""

    directory: str
    contents: Mapping[str, bytes]
    name: str
    description: str

    @property
    def size(self) -> int:
        """The bytes of all contents."""
        return sum(map(len, self.contents.values()))

    def pack(self) -> bytes:
        """Return a zip archive, the same for the same files."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in sorted(self.contents.items()):
                archive.writestr(zipfile.ZipInfo(f"{self.name}/{path}", _LONG_AGO), content, zipfile.ZIP_DEFLATED)
        return packed.getvalue()


def read_skill_files(uploaded: Mapping[str, bytes]) -> SkillFiles:
    """Return the files of an upload, given by their paths.

    Raises:
        ApiError: 400, the files are not those of a skill.
    """
    if not uploaded:
        raise ApiError(400, "files: Field required")
    directories = {path.partition("/")[0] for path in uploaded}
    if len(directories) > 1 or any("/" not in path for path in uploaded):
        raise ApiError(400, "files: all files must be in the same top-level directory")
    (directory,) = directories
    contents = {path.partition("/")[2]: content for path, content in uploaded.items()}
    for path in contents:
        if not all(part and part.strip(".") for part in path.split("/")) or "\\" in path:
            raise ApiError(400, f"files: invalid path {directory}/{path}")
    if "SKILL.md" not in contents:
        raise ApiError(400, "files: a SKILL.md file is required at the root of the top-level directory")
    fields = _read_frontmatter(contents["SKILL.md"])
    name = fields.get("name", directory)
    _check_fields(name, fields.get("description", ""))
    return SkillFiles(directory, contents, name, fields["description"])


def _read_frontmatter(content: bytes) -> dict[str, str]:
    """Read the plain ``key: value`` lines; that is all of YAML that the simulator needs."""
    try:
        found = _FRONTMATTER.match(content.decode())
    except UnicodeDecodeError:
        raise ApiError(400, "SKILL.md: must be UTF-8") from None
    if not found:
        raise ApiError(400, "SKILL.md: must start with YAML frontmatter")
    fields = (_FIELD.fullmatch(line) for line in found[1].splitlines())
    return {field[1]: field[2].strip().strip("\"'") for field in fields if field}


def _check_fields(name: str, description: str) -> None:
    if not _NAME.fullmatch(name) or any(word in name for word in _RESERVED):
        raise ApiError(
            400,
            "SKILL.md: name must be at most 64 lowercase letters, digits and hyphens, without the words "
            "'anthropic' and 'claude'",
        )
    if not description or len(description) > _MOST_DESCRIPTION or "<" in description:
        raise ApiError(400, f"SKILL.md: description must be 1 to {_MOST_DESCRIPTION} characters, without XML tags")
