"""``claude_grpc.v1.FilesService``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from claude_grpc.codec import Decoder
from claude_grpc.errors import OutOfRangeError
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.downloads import chunks
from claude_grpc.rpc.fetch import Fetch, Resource
from claude_grpc.rpc.file_head import FileHead
from claude_grpc.rpc.parts import Parts, refuse
from claude_grpc.rpc.uploads import Upload, extra_fields
from claude_grpc.v1 import files_pb2

__all__ = ["FilesServicer"]

_FILE = Decoder(files_pb2.FileMetadata)
_UPLOAD = Resource("POST", "/v1/files", _FILE)
_GET = Resource("GET", "/v1/files/{file_id}", _FILE)
_CONTENT = Resource("GET", "/v1/files/{file_id}/content", _FILE)
_LIST = Resource("GET", "/v1/files", Decoder(files_pb2.ListFilesResponse), {"file_ids": "ids[]"})
_DELETE = Resource("DELETE", "/v1/files/{file_id}", Decoder(files_pb2.DeleteFileResponse))

_EXPIRES = "expires_in_seconds"


class FilesServicer:
    """Files that messages can name.

    Args:
        fetch: The way to upstream.
        max_file_bytes: A larger file is refused.
    """

    def __init__(self, fetch: Fetch, *, max_file_bytes: int) -> None:
        self._fetch = fetch
        self._max_file_bytes = max_file_bytes

    async def upload_file(
        self, requests: AsyncIterator[files_pb2.UploadFileRequest], call: Call
    ) -> files_pb2.UploadFileResponse:
        """A new file; its content is never held."""
        parts = Parts(requests)
        header: files_pb2.UploadFileHeader = await parts.header()
        upload = Upload(parts, form_field="file", limit=self._max_file_bytes)
        fields = [*_expiry(header), *extra_fields(header.extra_json, {"file", _EXPIRES})]
        file = await upload.send(self._fetch, _UPLOAD, header, call, fields=fields, file=FileHead.of_file(header))
        return files_pb2.UploadFileResponse(file=file)

    async def download_file(
        self, request: files_pb2.DownloadFileRequest, call: Call
    ) -> AsyncIterator[files_pb2.DownloadFileResponse]:
        """What is known of a file, then its content."""
        if request.offset < 0:
            raise refuse("offset", "Must not be negative.")
        file = await self._fetch.send(_GET, request, call)
        size = file.size_bytes if file.HasField("size_bytes") else None
        if size is not None and request.offset > size:
            raise OutOfRangeError("offset", size)
        # A range that begins at the end is none to HTTP, so the last byte of the content is asked for, too.
        begin = request.offset if size is None else max(min(request.offset, size - 1), 0)
        async with self._fetch.download(_CONTENT, request, call, offset=begin) as stream:
            yield files_pb2.DownloadFileResponse(file=file)
            async with aclosing(chunks(stream, offset=request.offset, size=size)) as pieces:
                async for chunk in pieces:
                    yield files_pb2.DownloadFileResponse(chunk=chunk)

    async def get_file(self, request: files_pb2.GetFileRequest, call: Call) -> files_pb2.GetFileResponse:
        """What is known of a file."""
        return files_pb2.GetFileResponse(file=await self._fetch.send(_GET, request, call))

    async def list_files(self, request: files_pb2.ListFilesRequest, call: Call) -> files_pb2.ListFilesResponse:
        """A page of files."""
        if request.file_ids and (request.page_size or request.page_token):
            raise refuse("file_ids", "Must not be set together with `page_size` or `page_token`.")
        return await self._fetch.list(_LIST, request, call)

    async def delete_file(self, request: files_pb2.DeleteFileRequest, call: Call) -> files_pb2.DeleteFileResponse:
        """A file is no more."""
        return await self._fetch.send(_DELETE, request, call)


def _expiry(header: files_pb2.UploadFileHeader) -> list[tuple[str, str]]:
    if not header.HasField("expire_after"):
        return []
    if header.expire_after.nanos or header.expire_after.seconds <= 0:
        raise refuse("header.expire_after", "Must be a whole number of seconds, at least one.")
    return [(_EXPIRES, str(header.expire_after.seconds))]
