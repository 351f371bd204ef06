"""Files on their way from a client stream into a form that is sent to upstream while they come.

The form's end is sent when all has been checked; a form without it is one that broke off, so nothing is created.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from claude_grpc.codec import rawjson
from claude_grpc.errors import UpstreamProtocolError
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.content import ContentCheck
from claude_grpc.rpc.fetch import Fetch, Resource
from claude_grpc.rpc.file_head import FileHead
from claude_grpc.rpc.parts import Parts, extra_members, refuse
from claude_grpc.upstream import MultipartForm, StreamedBody

__all__ = ["Upload", "extra_fields"]

M = TypeVar("M", bound=Message)


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


def extra_fields(extra_json: str, taken: Collection[str]) -> list[tuple[str, str]]:
    """The fields of a form that ``header.extra_json`` stands for: a string is its text, any other value its JSON."""
    return [(name, _text(value)) for name, value in extra_members(extra_json, taken).items()]


def _text(value: rawjson.Raw) -> str:
    text = rawjson.read_string(value)
    return bytes(value).decode() if text is None else text
