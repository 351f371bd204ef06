"""Reads multipart/form-data as a stream, strictly: what a client gets wrong in it is a 400, not a guess."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from .errors import ApiError

__all__ = ["Form", "Part"]

_BOUNDARY = re.compile(r'multipart/form-data\s*;(?:.*;)?\s*boundary=("?)([^";,]{1,70})\1\s*(?:;.*)?', re.IGNORECASE)
_PARAMETER = re.compile(r';\s*([a-zA-Z*-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";]*))')
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MOST_HEADER_BYTES = 16 * 1024
_MOST_FIELD_BYTES = 64 * 1024
_MOST_PARTS = 1000


def _malformed(problem: str) -> ApiError:
    return ApiError(400, f"The multipart body is malformed: {problem}")


@dataclass
class Part:
    """One part of a form: its headers, and its content, which must be read before the next part is asked for."""

    name: str
    filename: str | None
    content_type: str | None
    _form: Form = field(repr=False)

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the content as it comes."""
        return self._form.content()

    async def read(self, most: int = _MOST_FIELD_BYTES) -> bytes:
        """Return the whole content.

        Raises:
            ApiError: 413, it is larger than ``most``.
        """
        content = bytearray()
        async for chunk in self.chunks():
            content += chunk
            if len(content) > most:
                raise ApiError(413, f"{self.name} exceeds the maximum size")
        return bytes(content)

    async def text(self) -> str:
        """Return the content of a field.

        Raises:
            ApiError: 400, it is not UTF-8.
        """
        try:
            return (await self.read()).decode()
        except UnicodeDecodeError:
            raise _malformed(f"{self.name} is not UTF-8") from None


class Form:
    """The parts of one body, in its order."""

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        found = _BOUNDARY.fullmatch(content_type.strip())
        if not found:
            raise ApiError(400, "Content-Type must be multipart/form-data with a boundary")
        # The line end before a boundary belongs to it; the first boundary has none, so it is given one.
        self._delimiter = f"\r\n--{found[2]}".encode()
        self._buffer = bytearray(b"\r\n")
        self._body = body

    async def parts(self) -> AsyncIterator[Part]:
        """Yield the parts.

        Raises:
            ApiError: 400, the body is malformed or ends too early.
        """
        async for preamble in self.content():
            if preamble.strip():
                raise _malformed("something stands before the first boundary")
        for _ in range(_MOST_PARTS):
            after = await self._take(2)
            if after == b"--":
                await self._finish()
                return
            if after != b"\r\n":
                raise _malformed("something stands behind a boundary")
            yield _read_headers(await self._take_headers(), self)
        raise _malformed("too many parts")

    async def content(self) -> AsyncIterator[bytes]:
        """Yield everything up to the next boundary, and take the boundary away."""
        while (at := self._buffer.find(self._delimiter)) < 0:
            safe = len(self._buffer) - len(self._delimiter) + 1
            if safe > 0:
                yield self._cut(safe)
            await self._more()
        if at:
            yield self._cut(at)
        del self._buffer[: len(self._delimiter)]

    def _cut(self, size: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return taken

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        return self._cut(size)

    async def _take_headers(self) -> bytes:
        while (at := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _MOST_HEADER_BYTES:
                break
            await self._more()
        if not 0 <= at <= _MOST_HEADER_BYTES:
            raise _malformed("a header is too long")
        return (await self._take(at + 4))[:at]

    async def _more(self) -> None:
        chunk = await anext(self._body, None)
        if chunk is None:
            raise _malformed("it ends before the last boundary")
        self._buffer += chunk

    async def _finish(self) -> None:
        rest = bytes(self._buffer)
        while not rest.strip():
            chunk = await anext(self._body, None)
            if chunk is None:
                return
            rest = chunk
        raise _malformed("something stands behind the last boundary")


def _read_headers(raw: bytes, form: Form) -> Part:
    try:
        lines = raw.decode().split("\r\n")
    except UnicodeDecodeError:
        raise _malformed("a header is not UTF-8") from None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or _CONTROL.search(line) or name.lower() in headers:
            raise _malformed(f"invalid header {line!r}")
        headers[name.lower()] = value.strip()
    disposition = headers.get("content-disposition", "")
    kind, _, _ = disposition.partition(";")
    parameters = _read_parameters(disposition.removeprefix(kind))
    if kind.strip().lower() != "form-data" or "name" not in parameters:
        raise _malformed("a part has no Content-Disposition with a name")
    return Part(parameters["name"], parameters.get("filename"), headers.get("content-type"), form)


def _read_parameters(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = text
    while match := _PARAMETER.match(rest):
        name, quoted, token = match[1].lower(), match[2], match[3]
        if name in found:
            raise _malformed(f"{name} stands twice in a header")
        found[name] = _unquote(quoted) if quoted is not None else token
        rest = rest[match.end() :]
    if rest.strip():
        raise _malformed(f"invalid header parameter {rest!r}")
    if extended := found.pop("filename*", None):
        found["filename"] = _decode_extended(extended)
    return found


def _decode_extended(text: str) -> str:
    """Decode RFC 5987's way to write what is not ASCII."""
    charset, _, encoded = text.partition("''")
    try:
        if charset.lower() == "utf-8":
            return unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        pass
    raise _malformed("filename* is not UTF-8")


def _unquote(text: str) -> str:
    """Undo what form encoders do to a quoted name: escapes, and percent-encoding of quotes and line ends alone."""
    plain = re.sub(r"\\(.)", r"\1", text)
    return plain.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
