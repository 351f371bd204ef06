from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from claude_grpc.simulator.errors import ApiError
from claude_grpc.simulator.multipart import Form

TYPE = "multipart/form-data; boundary=b0"
BODY = (
    b'--b0\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n'
    b'--b0\r\ncontent-disposition: form-data; name="f"; filename="x.bin"\r\nContent-Type: a/b; c=d\r\n\r\n'
    b"two\r\n--b\r\n-b0\r\n\r\n"
    b"\r\n--b0--\r\n"
)
PARTS = [("a", None, None, b"one"), ("f", "x.bin", "a/b; c=d", b"two\r\n--b\r\n-b0\r\n\r\n")]

Parts = list[tuple[str, str | None, str | None, bytes]]


async def read(body: bytes, content_type: str = TYPE, size: int = 1 << 20) -> Parts:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    form = Form(content_type, chunks())
    return [(part.name, part.filename, part.content_type, await part.read()) async for part in form.parts()]


@pytest.mark.parametrize("size", [*range(1, 40), 1000])
async def test_the_parts_are_the_same_however_the_body_comes(size: int) -> None:
    assert await read(BODY, size=size) == PARTS


@pytest.mark.parametrize(
    "content_type", ['multipart/form-data; boundary="b0"', "Multipart/Form-Data;charset=x;boundary=b0;x=y"]
)
async def test_the_boundary_is_found(content_type: str) -> None:
    assert await read(BODY, content_type) == PARTS


async def test_a_line_end_may_stand_before_the_first_boundary() -> None:
    assert await read(b"\r\n" + BODY) == PARTS


async def test_a_form_without_parts() -> None:
    assert await read(b"--b0--") == []


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ('"é漢"', "é漢"),
        ("plain", "plain"),
        (r'"a\"b\\c"', 'a"b\\c'),
        ('"a%22b%0D%0A%41"', 'a"b\r\n%41'),
        ('"a;b=c"', "a;b=c"),
        ("\"a\"; filename*=UTF-8''%C3%A9%2F", "é/"),
    ],
)
async def test_a_filename_is_decoded(sent: str, name: str) -> None:
    body = f'--b0\r\nContent-Disposition: form-data; name="f"; filename={sent}\r\n\r\n\r\n--b0--'
    assert await read(body.encode()) == [("f", name, None, b"")]


def part(disposition: bytes) -> bytes:
    return b"--b0\r\nContent-Disposition: " + disposition + b"\r\n\r\n\r\n--b0--"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (BODY[:-6], "it ends before the last boundary"),
        (BODY[:40], "it ends before the last boundary"),
        (b"", "it ends before the last boundary"),
        (b"hello\r\n" + BODY, "something stands before the first boundary"),
        (BODY + b"hello", "something stands behind the last boundary"),
        (b"--b0 \r\n\r\n", "something stands behind a boundary"),
        (b"--b0\r\nno header\r\n\r\n--b0--", "invalid header"),
        (b"--b0\r\nA: 1\r\na: 2\r\n\r\n\r\n--b0--", "invalid header"),
        (b"--b0\r\n" + b"A: " + b"x" * 20_000 + b"\r\n\r\n\r\n--b0--", "a header is too long"),
        (part(b'form-data; name="f"; filename="a\x00b"'), "invalid header"),
        (part(b'form-data; name="f"; filename="a\nb"'), "invalid header"),
        (part(b'form-data; name="f"; filename="a\xff"'), "a header is not UTF-8"),
        (part(b'form-data; name="f"; filename="a"b"'), "invalid header parameter"),
        (part(b'form-data; name="f"; name="g"'), "name stands twice"),
        (part(b"form-data; name=\"f\"; filename*=UTF-8''%FF"), "filename* is not UTF-8"),
        (part(b"form-data; name=\"f\"; filename*=latin-1''a"), "filename* is not UTF-8"),
        (part(b"form-data"), "a part has no Content-Disposition with a name"),
        (part(b'attachment; name="f"'), "a part has no Content-Disposition with a name"),
        (b"--b0\r\nContent-Type: a/b\r\n\r\n\r\n--b0--", "a part has no Content-Disposition"),
        (b"--b0\r\n" + b"A: " + b"x" * 20_000, "a header is too long"),
    ],
)
async def test_what_is_malformed_is_told(body: bytes, problem: str) -> None:
    with pytest.raises(ApiError) as raised:
        await read(body)
    assert raised.value.status == 400
    assert problem in raised.value.message


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=b"])
async def test_another_content_type_is_refused(content_type: str) -> None:
    with pytest.raises(ApiError, match="Content-Type must be multipart/form-data with a boundary"):
        await read(BODY, content_type)


async def test_a_form_has_so_many_parts_at_most() -> None:
    one = b'--b0\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n'
    with pytest.raises(ApiError, match="too many parts"):
        await read(one * 1001 + b"--b0--")


async def test_a_field_has_a_largest_size_and_is_text() -> None:
    async def chunks(content: bytes) -> AsyncIterator[bytes]:
        yield b'--b0\r\nContent-Disposition: form-data; name="f"\r\n\r\n' + content + b"\r\n--b0--"

    for content, status in ((b"x" * 100_000, 413), (b"\xff", 400)):
        field = await anext(Form(TYPE, chunks(content)).parts())
        with pytest.raises(ApiError) as raised:
            await field.text()
        assert raised.value.status == status
