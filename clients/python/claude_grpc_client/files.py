"""Files from a thread: sent and fetched in chunks, with checksums, and taken up again where a download broke."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import grpc

from claude_grpc.v1 import files_pb2, files_pb2_grpc
from claude_grpc.v1.options_pb2 import CallOptions
from claude_grpc_client.calls import Caller
from claude_grpc_client.channel import DEFAULT_TIMEOUT

__all__ = ["Files"]

# The most that the gateway takes, and well below what any gRPC client receives by default.
_CHUNK_BYTES = 1024 * 1024


class Files(Caller):
    """The files behind a gateway. Errors are raised as ``ClaudeError``.

    Args:
        channel: To the gateway; not closed here.
        timeout: Deadline of a call in seconds; None for the service config's.
        call_options: How the gateway handles each call; None for its settings.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        call_options: CallOptions | None = None,
    ) -> None:
        self._stub = files_pb2_grpc.FilesServiceStub(channel)
        super().__init__(timeout, call_options)

    def upload(
        self, path: Path, *, mime_type: str = "", sent: Callable[[int], object] = lambda _: None
    ) -> files_pb2.FileMetadata:
        """Send a file; it is there only if all of it came through whole.

        Args:
            path: The file.
            mime_type: Guessed by the file's name if empty.
            sent: Told the size of each chunk that is handed over.
        """
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").digest()
        header = files_pb2.UploadFileHeader(
            filename=path.name,
            mime_type=mime_type or mimetypes.guess_type(path.name)[0] or "application/octet-stream",
            size_bytes=path.stat().st_size,
            sha256=sha256,
            call_options=self._call_options,
        )
        return self._ask(self._stub.UploadFile, _chunks(path, header, sent)).file

    def download(
        self, file_id: str, path: Path, *, received: Callable[[int, int], object] = lambda _done, _total: None
    ) -> files_pb2.FileMetadata:
        """Fetch a file into ``path``, going on from where a broken connection left off.

        Args:
            file_id: The file.
            path: Written anew, when all is there; what was there before stays until then.
            received: Told how many bytes are there, and of how many.
        """
        request = files_pb2.DownloadFileRequest(file_id=file_id, call_options=self._call_options)
        metadata = files_pb2.FileMetadata()
        with _written_anew(path) as file:
            for part in self._read_on(lambda: self._stub.DownloadFile(request, timeout=self._timeout)):
                if part.HasField("file"):
                    metadata = part.file
                    continue
                file.write(part.chunk.data)
                request.offset += len(part.chunk.data)
                received(request.offset, metadata.size_bytes)
        return metadata

    def get(self, file_id: str) -> files_pb2.FileMetadata:
        """What is known of a file."""
        return self._ask(
            self._stub.GetFile, files_pb2.GetFileRequest(file_id=file_id, call_options=self._call_options)
        ).file

    def delete(self, file_id: str) -> None:
        """Delete a file."""
        self._ask(self._stub.DeleteFile, files_pb2.DeleteFileRequest(file_id=file_id, call_options=self._call_options))

    def list(self) -> Iterator[files_pb2.FileMetadata]:
        """All files, the newest first."""
        request = files_pb2.ListFilesRequest(call_options=self._call_options)
        while True:
            page = self._ask(self._stub.ListFiles, request)
            yield from page.files
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


@contextmanager
def _written_anew(path: Path) -> Iterator[IO[bytes]]:
    if path.exists() and not path.is_file():  # a pipe or a device, which nothing can take the place of
        with path.open("wb") as file:
            yield file
        return
    path = path.resolve()
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _chunks(
    path: Path, header: files_pb2.UploadFileHeader, sent: Callable[[int], object]
) -> Iterator[files_pb2.UploadFileRequest]:
    yield files_pb2.UploadFileRequest(header=header)
    offset = 0
    with path.open("rb") as file:
        while data := file.read(_CHUNK_BYTES):
            yield files_pb2.UploadFileRequest(chunk=files_pb2.FileChunk(offset=offset, data=data))
            offset += len(data)
            sent(len(data))
