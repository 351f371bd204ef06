"""The resource ``files``: upload, metadata, lists, download and deletion, in today's shapes and those of its beta."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

from .calls import Call, Routes
from .clock import Clock, timestamp
from .errors import ApiError, invalid
from .file_contents import Content, StoredFile, clean_name, read_content
from .multipart import Form, Part
from .options import SimulatorOptions
from .paging import check_query, page_by_cursor, page_by_id, values_of
from .resource_faults import DOWNLOADABLE
from .store import Quota, Reservation, Store, make_id

__all__ = ["Files"]

_OLD_BETA = "files-api-2025-04-14"
_MOST_IDS = 100
_LEAST_EXPIRY, _MOST_EXPIRY = 3600, 7_776_000
# What a form has around its file.
_FORM_BYTES = 128 * 1024


class Files:
    """Holds the files."""

    def __init__(self, options: SimulatorOptions, clock: Clock, quota: Quota) -> None:
        self._options = options
        self._clock = clock
        self._quota = quota
        self._files: Store[StoredFile] = Store("File not found: {}", options.max_objects)

    @property
    def routes(self) -> Routes:
        """The requests that are answered here."""
        return {
            "POST /v1/files": self._upload,
            "GET /v1/files": self._list,
            "GET /v1/files/{file_id}": self._retrieve,
            "DELETE /v1/files/{file_id}": self._delete,
            "GET /v1/files/{file_id}/content": self._download,
        }

    def __iter__(self) -> Iterator[StoredFile]:
        return iter(self._files)

    def usable(self, name: object) -> StoredFile:
        """Return the file of this id that a message names.

        Raises:
            ApiError: 404, there is none, or it has expired.
        """
        file = self._files.find(str(name))
        self._check_expiry(file)
        return file

    def get(self, name: object) -> StoredFile | None:
        """Return the file of this id, None when there is none."""
        return self._files.get(name)

    def add(
        self, filename: str, mime_type: str, content: Content, *, downloadable: bool, expires_in: float | None
    ) -> StoredFile:
        """Keep a file whose content is counted already."""
        number, now = next(self._files.numbers), self._clock.now()
        file = StoredFile(
            id=make_id("file", number),
            number=number,
            filename=filename,
            mime_type=mime_type,
            created_at=now,
            content=content,
            downloadable=downloadable,
            expires_at=None if expires_in is None else now + expires_in,
        )
        self._files.add(file)
        return file

    async def _upload(self, call: Call) -> web.StreamResponse:
        check_query(call.query)
        with self._quota.reserve() as space:
            fields = await self._read_form(call, space)
            if "file" not in fields:
                raise invalid("file", "Field required")
            filename, mime_type, content = fields["file"]
            downloadable = self._options.uploads_downloadable or DOWNLOADABLE in filename
            expires_in = fields.get("expires_in_seconds")
            file = self.add(filename, mime_type, content, downloadable=downloadable, expires_in=expires_in)
            space.keep()
        return await call.send(_show(file, old=_is_old(call)))

    async def _read_form(self, call: Call, space: Reservation) -> dict[str, Any]:
        most = self._options.max_file_bytes + _FORM_BYTES
        form = Form(call.request.headers.get("content-type", ""), call.body.chunks(most))
        fields: dict[str, Any] = {}
        async for part in form.parts():
            if part.name in fields:
                raise invalid(part.name, "Field must not be sent twice")
            if part.name == "file":
                fields["file"] = await self._read_file(part, space)
            elif part.name == "expires_in_seconds" and not _is_old(call):
                fields[part.name] = _read_expiry(await part.text())
            else:
                raise invalid(part.name, "Extra inputs are not permitted")
        return fields

    async def _read_file(self, part: Part, space: Reservation) -> tuple[str, str, Content]:
        mime_type = part.content_type or "application/octet-stream"
        filename = clean_name(part.filename, mime_type)
        most, most_kept = self._options.max_file_bytes, self._options.max_kept_file_bytes
        return filename, mime_type, await read_content(part.chunks(), space, most=most, most_kept=most_kept)

    async def _list(self, call: Call) -> web.StreamResponse:
        old = _is_old(call)
        check_query(call.query, *(("before_id", "after_id", "limit") if old else ("page", "limit", "ids")))
        files = self._files.newest_first()
        if old:
            return await call.send(page_by_id(call.query, files, lambda file: _show(file, old=True)))
        if ids := set(values_of(call.query, "ids")):
            return await call.send(self._list_by_ids(call, files, ids))
        return await call.send(page_by_cursor(call.query, files, _show, "files"))

    def _list_by_ids(self, call: Call, files: list[StoredFile], ids: set[str]) -> dict[str, Any]:
        if "page" in call.query or "limit" in call.query:
            raise invalid("ids", "may not be given together with page or limit")
        if len(ids) > _MOST_IDS:
            raise invalid("ids", f"List should have at most {_MOST_IDS} items after validation, not {len(ids)}")
        return {"data": [_show(file) for file in files if file.id in ids], "next_page": None}

    async def _retrieve(self, call: Call, name: str) -> web.StreamResponse:
        check_query(call.query)
        return await call.send(_show(self._files.find(name), old=_is_old(call)))

    async def _delete(self, call: Call, name: str) -> web.StreamResponse:
        check_query(call.query)
        file = self._files.find(name)
        self._files.remove(file)
        self._quota.give(file.content.kept)
        return await call.send({"type": "file_deleted", "id": file.id})

    async def _download(self, call: Call, name: str) -> web.StreamResponse:
        check_query(call.query)
        file = self._files.find(name)
        self._check_expiry(file)
        if not file.downloadable:
            raise ApiError(
                400,
                f"File `{file.id}` is not downloadable. Only files generated by a tool (for example, the code "
                "execution tool) can be downloaded.",
                details={"error_code": "file_not_downloadable"},
            )
        return await call.send_content(file.content, file.content.size, file.mime_type)

    def _check_expiry(self, file: StoredFile) -> None:
        if file.expires_at is not None and self._clock.now() >= file.expires_at:
            raise ApiError(404, f"File `{file.id}` has expired.", details={"error_code": "file_expired"})


def _is_old(call: Call) -> bool:
    return _OLD_BETA in call.caller.betas


def _read_expiry(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise invalid("expires_in_seconds", "Input should be a valid integer, unable to parse string as an integer")
    if not _LEAST_EXPIRY <= int(text) <= _MOST_EXPIRY:
        raise invalid("expires_in_seconds", f"Input should be between {_LEAST_EXPIRY} and {_MOST_EXPIRY}")
    return int(text)


def _show(file: StoredFile, *, old: bool = False) -> Mapping[str, Any]:
    shown: dict[str, Any] = {
        "type": "file",
        "id": file.id,
        "size_bytes": file.content.size,
        "created_at": timestamp(file.created_at),
        "expires_at": timestamp(file.expires_at),
        "filename": file.filename,
        "mime_type": file.mime_type,
        "downloadable": file.downloadable,
    }
    if old:
        del shown["expires_at"]
    return shown
