"""``claude-grpc batch``, ``files`` and ``models`` against a real gateway, and reading on after a broken connection."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from claude_grpc.v1.batches_pb2 import CreateMessageBatchHeader
from claude_grpc.v1.options_pb2 import CallOptions
from claude_grpc_client import Batches, Files, InvalidRequestError, Models, UnavailableError
from claude_grpc_client.calls import read_on
from claude_grpc_client.progress import Progress
from support.cable import open_cable
from support.processes import COMMAND, GatewayProcess, clean_environment


def run(gateway: GatewayProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments, "--target", gateway.target],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def item(custom_id: str, text: str) -> str:
    params = {"model": "claude-opus-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": text}]}
    return json.dumps({"custom_id": custom_id, "params": params})


def test_a_batch_is_made_watched_and_read(gateway_process: GatewayProcess, tmp_path: Path) -> None:
    lines = tmp_path / "batch.jsonl"
    lines.write_text(f"{item('a', 'hi')}\n\n{item('b', 'there')}\n")
    made = run(gateway_process, "batch", "create", str(lines))
    assert made.returncode == 0, made.stderr
    batch_id = made.stdout.strip()
    watched = run(gateway_process, "batch", "watch", batch_id)
    assert watched.returncode == 0, watched.stderr
    assert watched.stdout.splitlines()[-1].startswith("ended: 0 processing, 2 succeeded")
    read = run(gateway_process, "batch", "results", batch_id)
    assert read.returncode == 0, read.stderr
    assert {json.loads(line)["custom_id"] for line in read.stdout.splitlines()} == {"a", "b"}
    rest = run(gateway_process, "batch", "results", batch_id, "--start-index", "1")
    assert rest.stdout.splitlines() == read.stdout.splitlines()[1:]
    assert made.stderr == watched.stderr == read.stderr == ""


def test_results_that_are_not_all_good_have_an_exit_code_of_their_own(
    gateway_process: GatewayProcess, tmp_path: Path
) -> None:
    lines = tmp_path / "batch.jsonl"
    lines.write_text(item("a", "[[error 529]]"))
    batch_id = run(gateway_process, "batch", "create", str(lines)).stdout.strip()
    run(gateway_process, "batch", "watch", batch_id)
    assert run(gateway_process, "batch", "results", batch_id).returncode == 3


@pytest.mark.parametrize("line", ["no JSON", "[]", "{}", '{"custom_id": "a"}', '{"custom_id": 5, "params": {}}'])
def test_a_line_that_is_no_request_is_told_by_its_number(
    gateway_process: GatewayProcess, tmp_path: Path, line: str
) -> None:
    lines = tmp_path / "batch.jsonl"
    lines.write_text(f"{item('a', 'hi')}\n{line}\n")
    made = run(gateway_process, "batch", "create", str(lines))
    assert made.returncode == 2
    assert f"{lines}:2: " in made.stderr
    assert made.stdout == ""


def test_a_file_is_sent_listed_and_deleted(gateway_process: GatewayProcess, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"x" * 3_000_000)
    sent = run(gateway_process, "files", "upload", str(path))
    assert sent.returncode == 0, sent.stderr
    file_id = sent.stdout.strip()
    files = [json.loads(line) for line in run(gateway_process, "files", "list").stdout.splitlines()]
    [found] = [file for file in files if file["id"] == file_id]
    assert (found["filename"], found["mime_type"], found["size_bytes"]) == ("notes.txt", "text/plain", "3000000")
    refused = run(gateway_process, "files", "download", file_id, str(tmp_path / "back"))
    assert refused.returncode == 1
    assert "not downloadable" in refused.stderr
    assert run(gateway_process, "files", "delete", file_id).returncode == 0
    assert run(gateway_process, "files", "delete", file_id).returncode == 1


def test_models_are_listed(gateway_process: GatewayProcess) -> None:
    listed = run(gateway_process, "models")
    assert all(json.loads(line)["id"].startswith("claude-") for line in listed.stdout.splitlines())
    assert listed.returncode == 0


def test_a_missing_file_is_told(gateway_process: GatewayProcess) -> None:
    done = run(gateway_process, "files", "upload", "/no/such/file")
    assert done.returncode == 2
    assert "/no/such/file" in done.stderr


def test_a_program_sees_where_the_time_of_its_last_call_went(gateway_process: GatewayProcess, tmp_path: Path) -> None:
    path = tmp_path / "notes [[downloadable]].txt"
    path.write_bytes(b"x" * 3_000_000)
    with grpc.insecure_channel(gateway_process.target) as channel:
        files, models = Files(channel), Models(channel)
        assert files.timing is None
        file = files.upload(path)
        sent = files.timing
        assert sent is not None
        assert sent.receive > 0
        files.download(file.id, tmp_path / "back")
        assert files.timing is not None
        assert files.timing is not sent
        assert list(models.list())
        assert models.timing is not None
        assert 0 < models.timing.gateway < models.timing.total


@pytest.mark.parametrize(
    "ask",
    [
        lambda channel, options, _: Batches(channel, call_options=options).create([]),
        lambda channel, options, _: Batches(channel, call_options=options).create([], CreateMessageBatchHeader()),
        lambda channel, options, _: Batches(channel, call_options=options).get("a"),
        lambda channel, options, _: Batches(channel, call_options=options).cancel("a"),
        lambda channel, options, _: Batches(channel, call_options=options).delete("a"),
        lambda channel, options, _: next(Batches(channel, call_options=options).list()),
        lambda channel, options, _: next(Batches(channel, call_options=options).watch("a")),
        lambda channel, options, _: next(Batches(channel, call_options=options).results("a")),
        lambda channel, options, path: Files(channel, call_options=options).upload(path),
        lambda channel, options, path: Files(channel, call_options=options).download("a", path),
        lambda channel, options, _: Files(channel, call_options=options).get("a"),
        lambda channel, options, _: Files(channel, call_options=options).delete("a"),
        lambda channel, options, _: next(Files(channel, call_options=options).list()),
        lambda channel, options, _: Models(channel, call_options=options).get("a"),
        lambda channel, options, _: next(Models(channel, call_options=options).list()),
    ],
)
def test_options_go_with_each_call(
    gateway_process: GatewayProcess, tmp_path: Path, ask: Callable[[grpc.Channel, CallOptions, Path], Any]
) -> None:
    path = tmp_path / "file"
    path.touch()
    with grpc.insecure_channel(gateway_process.target) as channel, pytest.raises(InvalidRequestError) as caught:
        ask(channel, CallOptions(max_retries=99), path)
    [(field, _)] = caught.value.violations
    assert field.removeprefix("header.") == "call_options.max_retries"


class Broken(grpc.RpcError):
    """What gRPC raises when a connection breaks."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "gone"

    def trailing_metadata(self) -> tuple[()]:
        return ()


class Call:
    """Brings some numbers, then breaks if it is to."""

    def __init__(self, numbers: list[int], *, breaks: bool) -> None:
        self._numbers = numbers
        self._breaks = breaks

    def __iter__(self) -> Iterator[int]:
        yield from self._numbers
        if self._breaks:
            raise Broken

    def cancel(self) -> None:
        pass


def test_reading_goes_on_where_a_connection_broke() -> None:
    seen: list[int] = []

    def open_call() -> Call:
        rest = list(range(len(seen), 7))
        return Call(rest[:3], breaks=len(rest) > 3)

    for number in read_on(open_call, sleep=lambda _: None):
        seen.append(number)  # noqa: PERF402 # what has been seen decides what is asked for
    assert seen == list(range(7))


def test_reading_gives_up_when_nothing_comes_any_more() -> None:
    waits: list[float] = []
    with pytest.raises(UnavailableError):
        list(read_on(lambda: Call([], breaks=True), sleep=waits.append))
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2]


def test_an_error_in_drawing_the_items_is_the_error_that_is_raised(gateway_process: GatewayProcess) -> None:
    def items() -> Iterator[Any]:
        raise KeyError("mine")
        yield

    with grpc.insecure_channel(gateway_process.target) as channel, pytest.raises(KeyError, match="mine"):
        Batches(channel).create(items())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_drawn_on_a_terminal_and_taken_away() -> None:
    out = Terminal()
    with Progress("sending", 4000, in_bytes=True, out=out) as progress:
        progress.add(1000)
    assert "sending [########......................]  25% 1 kB of 4 kB" in out.getvalue()
    assert out.getvalue().endswith("\r\x1b[K")


def test_progress_is_quiet_elsewhere() -> None:
    out = io.StringIO()
    with Progress("sending", 4, out=out) as progress:
        progress.reach(2, 3)
    assert out.getvalue() == ""


def test_a_download_has_the_bytes_that_were_sent(tmp_path: Path, gateway_process: GatewayProcess) -> None:
    """The simulator lets a file be fetched whose name says so."""
    path = tmp_path / "[[downloadable]].bin"
    path.write_bytes(bytes(range(256)) * 10_000)
    file_id = run(gateway_process, "files", "upload", str(path)).stdout.strip()
    done = run(gateway_process, "files", "download", file_id, str(tmp_path / "back"))
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256((tmp_path / "back").read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest()


def test_a_download_that_fails_leaves_what_was_there(tmp_path: Path, gateway_process: GatewayProcess) -> None:
    path = tmp_path / "precious"
    path.write_text("as it was")
    failed = run(gateway_process, "files", "download", "file_gone", str(path))
    assert (failed.returncode, path.read_text()) == (1, "as it was")
    assert [each.name for each in tmp_path.iterdir()] == ["precious"]


def test_a_download_can_go_into_a_pipe(tmp_path: Path, gateway_process: GatewayProcess) -> None:
    path = tmp_path / "[[downloadable]].txt"
    path.write_text("hello")
    file_id = run(gateway_process, "files", "upload", str(path)).stdout.strip()
    assert run(gateway_process, "files", "download", file_id, "/dev/stdout").stdout == "hello"


def test_what_is_wrong_is_told_once(gateway_process: GatewayProcess) -> None:
    done = run(gateway_process, "batch", "watch", "..")
    assert done.returncode == 1
    assert done.stderr.count("Must be an id") == 1


async def test_a_download_goes_on_whenever_its_connection_breaks(
    tmp_path: Path, gateway_process: GatewayProcess
) -> None:
    path = tmp_path / "[[downloadable]].bin"
    path.write_bytes(hashlib.shake_128(b"seed").digest(10_000_000))
    file_id = run(gateway_process, "files", "upload", str(path)).stdout.strip()
    async with open_cable(gateway_process.target, bytes_to_caller=3_000_000) as cable:
        there = replace(gateway_process, target=cable.target)
        done = await asyncio.to_thread(run, there, "files", "download", file_id, str(tmp_path / "back"))
        assert done.returncode == 0, done.stderr
        assert cable.connections >= 4
    assert done.stderr == ""
    assert hashlib.sha256((tmp_path / "back").read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest()


async def test_results_go_on_whenever_their_connection_breaks(tmp_path: Path, gateway_process: GatewayProcess) -> None:
    lines = tmp_path / "batch.jsonl"
    lines.write_text("\n".join(item(f"c{number}", "[[repeat 50]] hi") for number in range(300)))
    batch_id = run(gateway_process, "batch", "create", str(lines)).stdout.strip()
    run(gateway_process, "batch", "watch", batch_id)
    async with open_cable(gateway_process.target, bytes_to_caller=25_000) as cable:
        there = replace(gateway_process, target=cable.target)
        read = await asyncio.to_thread(run, there, "batch", "results", batch_id)
        assert read.returncode == 0, read.stderr
        assert cable.connections >= 3
    assert [int(json.loads(line).get("index", 0)) for line in read.stdout.splitlines()] == list(range(300))
