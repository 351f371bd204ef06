"""What is told of a file before its content comes: its name, which must not break out of a header or a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from claude_grpc.codec import Violations
from claude_grpc.codec.newer import refuse_newer_fields
from claude_grpc.rpc.parts import refuse
from claude_grpc.v1.files_pb2 import UploadFileHeader
from claude_grpc.v1.skills_pb2 import SkillFile

__all__ = ["FileHead"]

_TYPE: Final = re.compile(r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}(; ?[\w!#$&^.+-]+=[\w!#$&^.+/-]+)*", re.ASCII)
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\\]")
_DOTS: Final = frozenset({".", ".."})
_MOST_CHARACTERS: Final = 1024


@dataclass(frozen=True, slots=True)
class FileHead:
    """What is told of a file before its content.

    Attributes:
        field: Path of it in the request.
        name: The file's name, or its path below the top folder.
        told: The part of the request that tells type, size and hash.
    """

    field: str
    name: str
    told: UploadFileHeader | SkillFile

    @classmethod
    def of_file(cls, header: UploadFileHeader) -> FileHead:
        """Of the header of an upload; raises `InvalidRequestError` for what would break a header or be a path."""
        if not header.filename or "/" in header.filename or header.filename in _DOTS:
            raise refuse("header.filename", "Must be the name of a file, without a path.")
        return cls._checked("header", "filename", header.filename, header)

    @classmethod
    def of_skill(cls, file: SkillFile) -> FileHead:
        """Of a file of a skill; raises `InvalidRequestError` for what would break a header or leave its folder."""
        violations = Violations()
        refuse_newer_fields(file, (None, "file"), violations)
        violations.raise_if_any()
        steps = file.path.split("/")
        if len(steps) == 1 or not _DOTS.isdisjoint(steps) or "" in steps:
            raise refuse("file.path", "Must be a relative path in a top folder, without `.` and `..`.")
        return cls._checked("file", "path", file.path, file)

    @classmethod
    def _checked(cls, field: str, name_field: str, name: str, told: UploadFileHeader | SkillFile) -> FileHead:
        if _UNFIT.search(name) or len(name) > _MOST_CHARACTERS:
            raise refuse(
                f"{field}.{name_field}",
                f"Must have no control characters, no backslash, and at most {_MOST_CHARACTERS} characters.",
            )
        if told.mime_type and not _TYPE.fullmatch(told.mime_type):
            raise refuse(f"{field}.mime_type", "Must be a MIME type, such as application/pdf.")
        return cls(field, name, told)

    @property
    def mime_type(self) -> str:
        """Its type, told or not."""
        return self.told.mime_type or "application/octet-stream"

    @property
    def size(self) -> int | None:
        """Its size, if it is told."""
        return self.told.size_bytes if self.told.HasField("size_bytes") else None
