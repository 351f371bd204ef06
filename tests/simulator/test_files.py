from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from typing import Any

import aiohttp
import pytest

from claude_grpc.simulator import Simulator, SimulatorOptions, generated_content

FILES = "/v1/files"
OLD = {"anthropic_beta": "files-api-2025-04-14"}
NOTE = ("file", "note.txt", b"Hello")
HEAD = (
    b"POST /v1/files HTTP/1.1\r\nHost: a\r\nx-api-key: k\r\nanthropic-version: 2026-10-21\r\n"
    b"Content-Type: multipart/form-data; boundary=B\r\n"
)
PART = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


async def test_an_upload_tells_what_the_file_is(ask: Any, simulator: Simulator) -> None:
    reply = await ask.upload(NOTE)
    file = reply.json
    assert reply.status == 200
    assert file.pop("created_at").endswith("Z")
    assert file.pop("id").startswith("file_")
    assert file == {
        "type": "file",
        "size_bytes": 5,
        "expires_at": None,
        "filename": "note.txt",
        "mime_type": "text/plain",
        "downloadable": False,
    }
    (stored,) = simulator.files.values()
    assert b"".join(stored.content) == b"Hello"
    assert stored.content.sha256 == hashlib.sha256(b"Hello").hexdigest()


async def test_metadata_is_what_the_upload_told(ask: Any) -> None:
    file = (await ask.upload(NOTE)).json
    assert (await ask.get(f"{FILES}/{file['id']}")).json == file


async def test_a_deleted_file_is_gone(ask: Any, simulator: Simulator) -> None:
    path = f"{FILES}/{(await ask.upload(NOTE)).json['id']}"
    assert (await ask.delete(path)).json == {"type": "file_deleted", "id": path.rpartition("/")[2]}
    for reply in (await ask.get(path), await ask.get(f"{path}/content"), await ask.delete(path)):
        assert (reply.status, reply.error) == (404, f"File not found: {path.rpartition('/')[2]}")
    assert not simulator.files


async def test_an_uploaded_file_is_not_downloadable(ask: Any) -> None:
    reply = await ask.get(f"{FILES}/{(await ask.upload(NOTE)).json['id']}/content")
    assert (reply.status, reply.json["error"]["details"]) == (400, {"error_code": "file_not_downloadable"})


async def test_a_file_may_be_named_downloadable(ask: Any) -> None:
    file = (await ask.upload(("file", "[[downloadable]] a.txt", b"Hello"))).json
    assert file["downloadable"] is True
    reply = await ask.get(f"{FILES}/{file['id']}/content")
    assert (reply.status, reply.headers["Content-Type"], reply.headers["Content-Length"]) == (200, "text/plain", "5")
    assert reply.body == b"Hello"


async def test_a_file_expires(ask: Any, simulator: Simulator) -> None:
    file = (await ask.upload(("expires_in_seconds", None, b"3600"), NOTE)).json
    assert file["expires_at"] > file["created_at"]
    simulator.pass_time(3601)
    assert (await ask.get(f"{FILES}/{file['id']}")).json == file
    reply = await ask.get(f"{FILES}/{file['id']}/content")
    assert (reply.status, reply.json["error"]["details"]) == (404, {"error_code": "file_expired"})


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a b.txt", "a b.txt"),
        ("né 漢字 🎈.txt", "né 漢字 🎈.txt"),
        ("../../etc/passwd", "passwd"),
        (r"C:\\dir\\a.txt", "a.txt"),
        ("", "unnamed.txt"),
        (None, "unnamed.txt"),
        ("dir/", "unnamed.txt"),
        ("a%20b%", "a%20b%"),
        ("x" * 500, "x" * 500),
    ],
)
async def test_of_a_name_the_last_part_is_kept(ask: Any, sent: str | None, kept: str) -> None:
    name = "" if sent is None else f'; filename="{sent}"'
    body = f'--B\r\nContent-Disposition: form-data; name="file"{name}\r\nContent-Type: text/plain\r\n\r\n\r\n--B--\r\n'
    reply = await ask.post(body.encode(), FILES, Content_Type="multipart/form-data; boundary=B")
    assert (reply.status, reply.json.get("filename")) == (200, kept)


@pytest.mark.parametrize("name", ["a:b", "a%22b", r"a\"b", "a|b", "a?b", "a*b", "<a>", "a%0D%0Ab", "..", "x" * 501])
async def test_some_names_are_refused(ask: Any, simulator: Simulator, name: str) -> None:
    reply = await ask.upload(("file", name, b"Hello"))
    assert (reply.status, reply.error[:17]) == (400, "Invalid filename:")
    assert not simulator.files


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([], "file: Field required"),
        ([NOTE, ("file", "again.txt", b"")], "file: Field must not be sent twice"),
        ([NOTE, ("purpose", None, b"user_data")], "purpose: Extra inputs are not permitted"),
        ([("expires_in_seconds", None, b"3599"), NOTE], "expires_in_seconds: Input should be between 3600 and 7776000"),
        ([NOTE, ("expires_in_seconds", None, b"7776001")], "expires_in_seconds: Input should be between 3600"),
        ([NOTE, ("expires_in_seconds", None, b"an hour")], "expires_in_seconds: Input should be a valid integer"),
    ],
)
async def test_a_wrong_form_leaves_no_file(ask: Any, simulator: Simulator, parts: list[Any], problem: str) -> None:
    reply = await ask.upload(*parts)
    assert reply.status == 400
    assert reply.error.startswith(problem)
    assert not simulator.files


async def test_files_are_listed_newest_first_by_page(ask: Any) -> None:
    ids = [(await ask.upload(NOTE)).json["id"] for _ in range(3)][::-1]
    first = (await ask.get(f"{FILES}?limit=2")).json
    assert [file["id"] for file in first["data"]] == ids[:2]
    assert first["next_page"].startswith("page_")
    # What was deleted or added meanwhile does not shift the pages.
    await ask.delete(f"{FILES}/{ids[1]}")
    await ask.upload(NOTE)
    second = (await ask.get(f"{FILES}?limit=2&page={first['next_page']}")).json
    assert ([file["id"] for file in second["data"]], second["next_page"]) == (ids[2:], None)


async def test_files_are_listed_by_ids(ask: Any) -> None:
    ids = [(await ask.upload(NOTE)).json["id"] for _ in range(3)]
    listed = (await ask.get(f"{FILES}?ids[]={ids[0]}&ids[]={ids[2]}&ids[]=file_unknown&ids[]={ids[0]}")).json
    assert ([file["id"] for file in listed["data"]], listed["next_page"]) == ([ids[2], ids[0]], None)
    assert (await ask.get(f"{FILES}?ids[]={ids[0]}&limit=1")).status == 400
    assert (await ask.get(FILES + "?" + "&".join(f"ids[]=file_{number}" for number in range(101)))).status == 400


async def test_the_old_beta_has_the_old_shapes(ask: Any) -> None:
    file = (await ask.upload(NOTE, **OLD)).json
    assert "expires_at" not in file
    assert (await ask.get(f"{FILES}/{file['id']}", **OLD)).json == file
    listed = (await ask.get(f"{FILES}?limit=1", **OLD)).json
    assert listed == {"data": [file], "has_more": False, "first_id": file["id"], "last_id": file["id"]}
    assert (await ask.get(f"{FILES}?page=page_1", **OLD)).status == 400
    assert (await ask.get(f"{FILES}?after_id={file['id']}")).status == 400
    assert (await ask.upload(NOTE, ("expires_in_seconds", None, b"3600"), **OLD)).status == 400


class TestLimits:
    @pytest.fixture
    def options(self) -> SimulatorOptions:
        return SimulatorOptions(
            max_file_bytes=300_000, max_kept_file_bytes=200_000, max_stored_bytes=350_000, uploads_downloadable=True
        )

    async def test_a_file_that_is_too_large_is_refused_before_it_is_read(self, ask: Any, simulator: Simulator) -> None:
        reply = await ask.upload(("file", "a", b"x" * 500_000))
        assert (reply.status, reply.json["error"]["type"]) == (413, "request_too_large")
        assert simulator.requests[0].received == 0

    async def test_a_file_whose_length_was_not_told_is_limited_too(self, ask: Any, simulator: Simulator) -> None:
        async def chunks() -> Any:
            yield b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            yield b"x" * 300_001
            yield b"\r\n--B--\r\n"

        reply = await ask.post(chunks(), FILES, Content_Type="multipart/form-data; boundary=B")
        assert (reply.status, reply.error) == (413, "File exceeds the maximum size")
        assert not simulator.files

    async def test_of_a_larger_file_the_size_and_digest_are_kept(self, ask: Any, simulator: Simulator) -> None:
        file = (await ask.upload(("file", "a", b"x" * 300_000))).json
        stored = simulator.files[file["id"]]
        assert (stored.content.kept, stored.content.size) == (0, 300_000)
        assert stored.content.sha256 == hashlib.sha256(b"x" * 300_000).hexdigest()
        assert (await ask.get(f"{FILES}/{file['id']}/content")).body == b"".join(generated_content(300_000))

    async def test_the_room_for_all_files_is_limited(self, ask: Any, simulator: Simulator) -> None:
        large = ("file", "a", b"x" * 200_000)
        first = (await ask.upload(large)).json
        reply = await ask.upload(large)
        assert (reply.status, reply.json["error"]["details"]) == (400, {"error_code": "storage_quota_exceeded"})
        await ask.delete(f"{FILES}/{first['id']}")
        assert (await ask.upload(large)).status == 200


async def test_a_generated_file_has_the_digest_of_what_is_downloaded(ask: Any, simulator: Simulator) -> None:
    file = simulator.add_file("noise.bin", 200_001, expires_in=60)
    reply = await ask.get(f"{FILES}/{file.id}/content")
    assert hashlib.sha256(reply.body).hexdigest() == file.content.sha256
    assert (len(reply.body), reply.headers["Content-Length"]) == (200_001, "200001")
    assert reply.body[65_536:65_544] == (1).to_bytes(8, "big")
    assert file.expires_at is not None


@pytest.mark.parametrize("at", [0, 70_000])
async def test_a_download_is_cut_at_a_byte(ask: Any, simulator: Simulator, at: int) -> None:
    file = simulator.add_file("noise.bin", 200_000)
    simulator.script(f"cut at={at}")
    reply = await ask.get(f"{FILES}/{file.id}/content")
    assert reply.body == b"".join(generated_content(200_000))[:at]


@pytest.mark.parametrize("directive", ["truncate", "reset"])
async def test_a_download_is_broken_off_at_a_byte(ask: Any, simulator: Simulator, directive: str) -> None:
    file = simulator.add_file("noise.bin", 200_000)
    simulator.script(f"{directive} at=70000")
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await ask.get(f"{FILES}/{file.id}/content")
    assert simulator.requests[0].sent == 70_000


async def test_an_upload_is_seen_while_it_comes_and_leaves_nothing_when_it_stops(simulator: Simulator) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(HEAD + b"Content-Length: 1000\r\n\r\n" + PART + b"Hello")
    exchange = await simulator.wait_request()
    assert exchange.closed_at is None
    writer.close()
    await simulator.wait_closed(exchange)
    assert (exchange.closed_early, exchange.body) == (True, b"")
    assert not simulator.files
    assert simulator._api.quota.used == 0


async def test_a_slow_body_holds_the_client_back(simulator: Simulator) -> None:
    simulator.script("slow-body at=100000")
    _, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(HEAD + b"Content-Length: 100000000\r\n\r\n" + PART)
    exchange = await simulator.wait_request()
    sending = asyncio.ensure_future(send_without_end(writer))
    while not exchange.received >= 100_000:
        await asyncio.sleep(0)
    read = exchange.received
    # Both ends' buffers fill up, and then nothing moves.
    assert await asyncio.wait([sending], timeout=0.2) == (set(), {sending})
    assert exchange.received == read < 1_000_000
    sending.cancel()
    linger_none = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_none)
    writer.transport.abort()
    await simulator.wait_closed(exchange)
    assert exchange.closed_early


async def test_a_slow_body_is_read_on_after_a_while(ask: Any, simulator: Simulator) -> None:
    simulator.script("slow-body 0.01 at=1")
    assert (await ask.upload(("file", "a", b"x" * 500_000))).status == 200


async def send_without_end(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


def document(file_id: str, kind: str = "document") -> list[dict[str, Any]]:
    named: dict[str, Any] = {"source": {"type": "file", "file_id": file_id}}
    block = {"type": kind} | ({"file_id": file_id} if kind == "container_upload" else named)
    return [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, block]}]


async def test_a_message_names_an_uploaded_file(ask: Any) -> None:
    file = (await ask.upload(NOTE)).json
    for kind in ("document", "container_upload"):
        reply = await ask(document(file["id"], kind))
        assert "What is it? (note.txt, text/plain, 5 bytes)" in reply.json["content"][0]["text"]
    assert (await ask.count(document(file["id"]))).status == 200


async def test_a_message_names_a_file_that_is_not_there(ask: Any) -> None:
    for messages in (document("file_1"), document("file_1", "image"), document("file_1", "container_upload")):
        for reply in (await ask(messages), await ask.count(messages)):
            assert reply.json["error"] == {"type": "not_found_error", "message": "File not found: file_1"}


async def test_a_message_names_a_file_that_has_expired(ask: Any, simulator: Simulator) -> None:
    file = simulator.add_file("a.txt", b"Hello", "text/plain", expires_in=60)
    assert (await ask(document(file.id))).status == 200
    simulator.pass_time(60)
    reply = await ask(document(file.id))
    assert (reply.status, reply.json["error"]["details"]) == (404, {"error_code": "file_expired"})


async def test_a_block_shows_files_of_its_types_only(ask: Any) -> None:
    file = (await ask.upload(NOTE)).json
    reply = await ask(document(file["id"], "image"))
    assert reply.status == 400
    assert reply.error.startswith("messages.0.content.1.image: ")


async def test_a_file_in_a_tool_result_must_be_there(ask: Any, weather_tool: dict[str, Any]) -> None:
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": document("file_1")[0]["content"]}
    call = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    assert (await ask(messages, tools=[weather_tool])).status == 404


async def test_a_file_in_a_batch_must_be_there_when_it_is_made(ask: Any, simulator: Simulator) -> None:
    file = (await ask.upload(NOTE)).json
    requests = [{"custom_id": name, "params": ask.body(document(name))} for name in (file["id"], "file_1")]
    batch = (await ask.post({"requests": requests}, "/v1/messages/batches")).json
    await ask.delete(f"{FILES}/{file['id']}")
    simulator.advance_batches()
    counts = (await ask.get(f"/v1/messages/batches/{batch['id']}")).json["request_counts"]
    assert (counts["succeeded"], counts["errored"]) == (1, 1)
    assert (await ask.get(f"/v1/messages/batches/{batch['id']}/results")).body.count(b"\n") == 2


async def test_a_file_that_an_assistant_names_is_not_looked_for(ask: Any) -> None:
    messages = [*document("file_1", "container_upload"), {"role": "user", "content": "And now?"}]
    assert (
        await ask([{"role": "user", "content": "Hi"}, messages[0] | {"role": "assistant"}, messages[1]])
    ).status == 200


class TestAnyFileId:
    @pytest.fixture
    def options(self) -> SimulatorOptions:
        return SimulatorOptions(any_file_id=True)

    async def test_a_message_may_name_any_file(self, ask: Any) -> None:
        assert (await ask(document("file_1"))).status == 200
