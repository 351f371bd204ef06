from __future__ import annotations

import re
from email import message_from_bytes
from email.message import Message
from typing import Any, cast
from urllib.parse import unquote

import pytest
from aiohttp.multipart import content_disposition_filename, parse_content_disposition
from hypothesis import given
from hypothesis import strategies as st

from claude_grpc.upstream import MultipartForm
from support.properties import properties

PLAIN = ["report.pdf", "a b;c=d,e.txt", "~!#$&'()*+@[]^`{|}.x", "my-skill/SKILL.md", ""]
ENCODED = {
    "résumé.pdf": "r%C3%A9sum%C3%A9.pdf",
    'a"b.txt': "a%22b.txt",
    "a\\b": "a%5Cb",
    "100%.txt": "100%25.txt",
    "a\r\nx-evil: 1": "a%0D%0Ax-evil: 1",
    "a\x00b": "a%00b",
    "a\tb\x7f": "a%09b%7F",
    "報告.txt": "%E5%A0%B1%E5%91%8A.txt",
}


def parsed(form: MultipartForm, body: bytes) -> list[Message]:
    """The form as Python's own parser of MIME sees it."""
    whole = message_from_bytes(f"Content-Type: {form.content_type}\r\n\r\n".encode() + body)
    assert whole.is_multipart()
    return cast("list[Message]", whole.get_payload())


def disposition(part: Message) -> dict[str, Any]:
    return dict(part.get_params(header="content-disposition", unquote=True) or [])


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_name_goes_as_it_is(name: str) -> None:
    head = MultipartForm("b").file_head("file", name, "text/plain")
    assert (
        head
        == (
            f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/plain\r\n\r\n'
        ).encode()
    )


@pytest.mark.parametrize(("name", "escaped"), ENCODED.items())
def test_any_other_name_is_escaped_and_told_exactly(name: str, escaped: str) -> None:
    head = MultipartForm("b").file_head("file", name, "text/plain").decode("ascii")
    assert f"; filename=\"{escaped}\"; filename*=UTF-8''" in head
    assert head.count("\r\n") == 4
    [part] = parsed(MultipartForm("b"), head.encode() + b"x\r\n--b--\r\n")
    _, parameters = parse_content_disposition(part["content-disposition"])
    assert content_disposition_filename(parameters) == name
    assert unquote(parameters["filename"]) == name
    assert part.get_payload() == "x"


@properties
@given(name=st.text(st.characters(codec="utf-8")), value=st.text("aé\r\n-b"))
def test_no_name_and_no_value_leaves_its_place(name: str, value: str) -> None:
    form = MultipartForm()
    body = form.field("f", value) + form.file_head("files[]", name, "a/b") + b"content" + form.FILE_END + form.close()
    field, file = parsed(form, body)
    assert disposition(field)["name"] == "f"
    assert disposition(file)["name"] == "files[]"
    assert set(field) == {"Content-Disposition"}
    assert set(file) == {"Content-Disposition", "Content-Type"}
    assert cast("bytes", field.get_payload(decode=True)) == value.encode()
    assert file.get_payload() == "content"
    for head in re.findall(rb"Content-Disposition: (.*)\r\n", body):
        assert re.fullmatch(rb"[ -~]*", head)


def test_a_form_without_its_end_is_broken_off() -> None:
    form = MultipartForm("b")
    body = form.file_head("file", "x", "a/b") + b"content" + form.FILE_END
    whole = message_from_bytes(f"Content-Type: {form.content_type}\r\n\r\n".encode() + body)
    assert whole.defects
    assert not message_from_bytes(f"Content-Type: {form.content_type}\r\n\r\n".encode() + body + form.close()).defects


def test_no_two_forms_have_the_same_boundary() -> None:
    boundaries = {MultipartForm().content_type.partition("boundary=")[2] for _ in range(100)}
    assert len(boundaries) == 100
    assert all(re.fullmatch(r"[a-z0-9-]{32,70}", boundary) for boundary in boundaries)
