"""Files on their way from a client stream into a form that is sent to upstream while they come.

The form's end is sent when all has been checked; a form without it is one that broke off, so nothing is created.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from claude_grpc.codec import Violations, rawjson
from claude_grpc.codec.newer import refuse_newer_fields
from claude_grpc.errors import UpstreamProtocolError
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.content import ContentCheck
from claude_grpc.rpc.fetch import Fetch, Resource
from claude_grpc.rpc.parts import Parts, refuse
from claude_grpc.upstream import MultipartForm, StreamedBody
from claude_grpc.v1.files_pb2 import UploadFileHeader
from claude_grpc.v1.skills_pb2 import SkillFile

__all__ = ["FileHead", "Upload", "extra_fields"]

M = TypeVar("M", bound=Message)

_TYPE: Final = re.compile(r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}(; ?[\w!#$&^.+-]+=[\w!#$&^.+/-]+)*", re.ASCII)
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\\]")
_DOTS: Final = frozenset({".", ".."})
_MOST_CHARACTERS: Final = 1024


def extra_fields(extra_json: str, taken: set[str]) -> list[tuple[str, str]]:
    """The fields of a form that ``header.extra_json`` stands for.

    Args:
        extra_json: Text of a JSON object, or nothing. A string becomes its text, any other value its JSON.
        taken: Fields that the form has anyway.
    """
    if not extra_json:
        return []
    try:
        members = rawjson.split_object(extra_json.encode())
    except (ValueError, RecursionError) as error:
        raise refuse("header.extra_json", f"Is not valid JSON: {error}.") from error
    if members is None:
        raise refuse("header.extra_json", "Must be a JSON object, not another kind of value.")
    for name in members.keys() & taken:
        raise refuse("header.extra_json", f"Holds `{name}`, which has a field of its own; set it there.")
    return [(name, _text(value)) for name, value in members.items()]


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


class Upload:
    """One form, made of a client stream.

    Args:
        parts: The stream behind its header.
        form_field: Name of the form's field for files.
        limit: Most bytes of one file.
    """

    def __init__(self, parts: Parts, *, form_field: str, limit: int) -> None:
        self._parts = parts
        self._form_field = form_field
        self._limit = limit
        self._form = MultipartForm()
        self._complete = False

    async def send(
        self,
        fetch: Fetch,
        resource: Resource[M],
        header: Any,
        call: Call,
        *,
        fields: Sequence[tuple[str, str]],
        file: FileHead | None = None,
    ) -> M:
        """Send the form, and return the answer.

        Args:
            fetch: The way to upstream.
            resource: What to make.
            header: The stream's.
            call: The caller's.
            fields: Name and value of the fields that are no files.
            file: The only file, whose content is all that the stream has; without it, the stream has the files.
        """
        prepared = fetch.prepare(resource, header, call, part="header")
        answer = await fetch.upload(resource, prepared, self._body(fields, file), self._form.content_type, call)
        if not self._complete:
            raise UpstreamProtocolError("Upstream answered before it had all of the upload.", call.upstream)
        return answer

    def _body(self, fields: Sequence[tuple[str, str]], file: FileHead | None) -> StreamedBody:
        start = b"".join(self._form.field(name, value) for name, value in fields)
        if file is None:
            return StreamedBody(lambda: self._pieces(start, None))
        start += self._head(file)
        check = self._check(file)
        length = None if file.size is None else len(start) + file.size + len(self._end())
        return StreamedBody(lambda: self._pieces(start, check), length=length)

    async def _pieces(self, start: bytes, check: ContentCheck | None) -> AsyncIterator[bytes]:
        yield start
        async for name, part in self._parts:
            if name == "file":
                head = FileHead.of_skill(part)
                if check is not None:
                    check.finish()
                    yield self._form.FILE_END
                check = self._check(head)
                yield self._head(head)
            elif check is None:
                raise refuse("chunk", "Must come after the file whose content it is.")
            else:
                yield await check.take(part)
        if check is None:
            raise refuse("file", "Required: there must be one at least.")
        check.finish()
        self._complete = True
        yield self._end()

    def _head(self, file: FileHead) -> bytes:
        return self._form.file_head(self._form_field, file.name, file.mime_type)

    def _check(self, file: FileHead) -> ContentCheck:
        return ContentCheck(file.field, size=file.size, sha256=file.told.sha256, limit=self._limit)

    def _end(self) -> bytes:
        return self._form.FILE_END + self._form.close()


def _text(value: rawjson.Raw) -> str:
    text = rawjson.read_string(value)
    return bytes(value).decode() if text is None else text
