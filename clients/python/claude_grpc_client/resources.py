"""``claude-grpc batch``, ``files`` and ``models``: what the gateway keeps, from the command line.

A caller like any other: it has the client and nothing of the gateway's. What a program may want to read goes to
standard output, one line each; how far long work has come goes to standard error, and only to a terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from claude_grpc.v1.batches_pb2 import MessageBatch, MessageBatchItem
from claude_grpc.v1.messages_pb2 import MessageParams
from claude_grpc_client.batches import Batches
from claude_grpc_client.channel import DEFAULT_TARGET, open_channel
from claude_grpc_client.errors import ClaudeError
from claude_grpc_client.files import Files
from claude_grpc_client.models import Models
from claude_grpc_client.progress import Progress

__all__ = ["add_commands", "run"]

_Action = Callable[[grpc.Channel, argparse.Namespace], int]
_Commands = argparse._SubParsersAction  # noqa: SLF001 # argparse names this type nowhere else

_INTERRUPTED = 130
_SOME_FAILED = 3


class _InputError(Exception):
    """What was given cannot be sent."""


def add_commands(commands: _Commands[argparse.ArgumentParser]) -> None:
    """Declare the commands; each leaves what ``run`` does in ``action``."""
    batch = commands.add_parser("batch", help="make, watch and read message batches").add_subparsers(required=True)
    _add(batch, "create", _create_batch, "make a batch of a file's lines and print its id", "file")
    _add(batch, "watch", _watch_batch, "print each change of a batch until it has ended", "batch_id")
    results = _add(batch, "results", _batch_results, "print a batch's results, one JSON object a line", "batch_id")
    results.add_argument("--start-index", type=int, default=0, metavar="N", help="leave out the first N (default: 0)")
    files = commands.add_parser("files", help="send, fetch, list and delete files").add_subparsers(required=True)
    _add(files, "upload", _upload, "send a file and print its id", "file")
    _add(files, "download", _download, "fetch a file", "file_id").add_argument("path", help="where to write it")
    _add(files, "list", _list_files, "print all files, one JSON object a line")
    _add(files, "delete", _delete_file, "delete a file", "file_id")
    _add(commands, "models", _list_models, "print all models, one JSON object a line")


def _add(
    commands: _Commands[argparse.ArgumentParser], name: str, action: _Action, text: str, argument: str = ""
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    if argument:
        parser.add_argument(argument)
    parser.add_argument(
        "--target", default=DEFAULT_TARGET, metavar="HOST:PORT", help="the gateway (default: %(default)s)"
    )
    parser.set_defaults(run=run, action=action)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; 0, 1 after an error, 2 for what cannot be sent, 3 if a batch's results are not all good."""
    try:
        with open_channel(arguments.target, None) as channel:
            status: int = arguments.action(channel, arguments)
            return status
    except ClaudeError as error:
        # The gateway's own message has them already, as long as they fit.
        violations = "".join(f"; {field}: {text}" for field, text in error.violations if text not in error.message)
        request = f" (request {error.request_id})" if error.request_id else ""
        return _complain(f"{error.code.name}: {error.message}{violations}{request}", 1)
    except BrokenPipeError:
        # Who read the output has seen enough. What is still buffered would raise again when the interpreter exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error), 2)
    except _InputError as error:
        return _complain(str(error), 2)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _create_batch(channel: grpc.Channel, arguments: argparse.Namespace) -> int:
    path = Path(arguments.file)
    with Progress("sending", path.stat().st_size, in_bytes=True) as progress:
        batch = Batches(channel).create(_items(path, progress))
    print(batch.id)
    return 0


def _items(path: Path, progress: Progress) -> Iterator[MessageBatchItem]:
    """The requests of a file: a line each, ``{"custom_id": …, "params": {…}}``, params in the Claude API's own JSON."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            progress.add(len(line))
            if not line.strip():
                continue
            try:
                members = _members(line.decode())
                # As it is written, so that all of it reaches the API, also a parameter that these stubs do not know.
                params = MessageParams(extra_json=members["params"])
                yield MessageBatchItem(custom_id=json.loads(members["custom_id"]), params=params)
            except (ValueError, KeyError, TypeError) as error:
                raise _InputError(
                    f'{path}:{number}: a line is a JSON object {{"custom_id": "…", "params": {{…}}}}'
                ) from error


def _members(text: str) -> dict[str, str]:
    """An object's members, each value as it is written."""
    decoder, space = json.JSONDecoder(), re.compile(r"\s*")
    members: dict[str, str] = {}
    at, mark = space.match(text).end(), "{"  # type: ignore[union-attr] # it matches the empty text
    while text[at : at + 1] == mark:
        key, end = decoder.raw_decode(text, space.match(text, at + 1).end())  # type: ignore[union-attr]
        start = space.match(text, text.index(":", end) + 1).end()  # type: ignore[union-attr]
        _, end = decoder.raw_decode(text, start)
        members[key] = text[start:end]
        at, mark = space.match(text, end).end(), ","  # type: ignore[union-attr]
    return members


def _watch_batch(channel: grpc.Channel, arguments: argparse.Namespace) -> int:
    with Progress("running") as progress:
        for batch in Batches(channel).watch(arguments.batch_id):
            counts = batch.request_counts
            done = counts.succeeded + counts.errored + counts.canceled + counts.expired
            progress.reach(done, done + counts.processing)
            print(_told(batch), flush=True)
    return 0


def _told(batch: MessageBatch) -> str:
    counts = batch.request_counts
    return (
        f"{batch.state_raw}: {counts.processing} processing, {counts.succeeded} succeeded, {counts.errored} errored, "
        f"{counts.canceled} canceled, {counts.expired} expired"
    )


def _batch_results(channel: grpc.Channel, arguments: argparse.Namespace) -> int:
    batches = Batches(channel)
    counts = batches.get(arguments.batch_id).request_counts
    total = counts.succeeded + counts.errored + counts.canceled + counts.expired
    all_good = True
    with Progress("results", total) as progress:
        for result in batches.results(arguments.batch_id, arguments.start_index):
            all_good &= result.result.type == "succeeded"
            _print_json(result)
            progress.reach(result.index + 1)
    return 0 if all_good else _SOME_FAILED


def _upload(channel: grpc.Channel, arguments: argparse.Namespace) -> int:
    path = Path(arguments.file)
    with Progress("sending", path.stat().st_size, in_bytes=True) as progress:
        print(Files(channel).upload(path, sent=progress.add).id)
    return 0


def _download(channel: grpc.Channel, arguments: argparse.Namespace) -> int:
    with Progress("fetching", in_bytes=True) as progress:
        Files(channel).download(arguments.file_id, Path(arguments.path), received=progress.reach)
    return 0


def _list_files(channel: grpc.Channel, arguments: argparse.Namespace) -> int:  # noqa: ARG001 # all of them
    for file in Files(channel).list():
        _print_json(file)
    return 0


def _delete_file(channel: grpc.Channel, arguments: argparse.Namespace) -> int:
    Files(channel).delete(arguments.file_id)
    return 0


def _list_models(channel: grpc.Channel, arguments: argparse.Namespace) -> int:  # noqa: ARG001 # all of them
    for model in Models(channel).list():
        _print_json(model)
    return 0


def _print_json(message: Message) -> None:
    print(json_format.MessageToJson(message, indent=None, preserving_proto_field_name=True, ensure_ascii=False))


def _complain(text: str, status: int) -> int:
    print(f"claude-grpc: {' '.join(text.split())}", file=sys.stderr)
    return status
