"""Forms with files, ``multipart/form-data`` by RFC 7578, as pieces of a body that can be sent while they are made.

Pure text: nothing here reads a file or sends a byte. Whatever a name or value holds, it cannot leave its place: in a
header there is visible ASCII only, and the boundary is random.
"""

from __future__ import annotations

import re
import secrets
from typing import Final
from urllib.parse import quote

__all__ = ["MultipartForm"]

# What may stand in a quoted string as it is. Not %, which some receivers take for an escape.
_PLAIN: Final = re.compile(r"[ !#$&-\[\]-~]*")
_ATTRIBUTE_CHARACTERS: Final = "!#$&+-.^_`|~"


class MultipartForm:
    """Makes the pieces of one form: fields and heads of files, and at the end ``close()``.

    After the head of a file comes its content, and after the content ``FILE_END``. The boundary is taken at random, 128
    bits of it, so that no content can hold it by chance or by intent.
    """

    FILE_END: Final = b"\r\n"

    def __init__(self, boundary: str = "") -> None:
        self._boundary = boundary or f"claude-grpc-{secrets.token_hex(16)}"

    @property
    def content_type(self) -> str:
        """The value of the request's header."""
        return f"multipart/form-data; boundary={self._boundary}"

    def field(self, name: str, value: str) -> bytes:
        """A field that is no file, whole."""
        return self._head(f'form-data; name="{_escaped(name)}"') + value.encode() + b"\r\n"

    def file_head(self, name: str, filename: str, content_type: str) -> bytes:
        """What comes before a file's content.

        Args:
            name: The field's name.
            filename: In visible ASCII it goes as it is. Otherwise it goes twice: percent-encoded as RFC 7578 says, and
                as ``filename*`` of RFC 5987, which receivers that know it prefer, and which tells it exactly.
            content_type: Of visible ASCII; whoever calls has checked it.
        """
        disposition = f'form-data; name="{_escaped(name)}"; filename="{_escaped(filename)}"'
        if not _PLAIN.fullmatch(filename):
            disposition += f"; filename*=UTF-8''{quote(filename, safe=_ATTRIBUTE_CHARACTERS)}"
        return self._head(disposition, content_type)

    def close(self) -> bytes:
        """The end, without which a receiver takes the form for broken off."""
        return f"--{self._boundary}--\r\n".encode()

    def _head(self, disposition: str, content_type: str = "") -> bytes:
        lines = [f"--{self._boundary}", f"Content-Disposition: {disposition}"]
        if content_type:
            lines.append(f"Content-Type: {content_type}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")


def _escaped(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote(text, safe=" !#$&'()*+,/:;<=>?@[]^`{|}~")
