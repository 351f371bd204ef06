"""``claude-grpc ask``: one question to a running gateway, the answer on the terminal as it is written.

A caller like any other: it has the client and nothing of the gateway's. The command line itself is parsed elsewhere.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TextIO

from claude_grpc.v1.messages_pb2 import AssistantMessage, MessageParams
from claude_grpc_client.channel import DEFAULT_TARGET
from claude_grpc_client.errors import ClaudeError, UnavailableError
from claude_grpc_client.events import text_of, thinking_of
from claude_grpc_client.messages import user
from claude_grpc_client.sync import Client
from claude_grpc_client.timing import Timing

__all__ = ["DEFAULT_MODEL", "add_arguments", "run"]

DEFAULT_MODEL = "claude-opus-5-5"

_DEFAULT_MAX_TOKENS = 4096
_ROOM_FOR_ANSWER = 1024
_INTERRUPTED = 130

# An answer is text that somebody else has written: it must not move the cursor or send the terminal commands.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``run`` reads."""
    parser.add_argument("question", nargs="?", help='what to ask; "-" or nothing at all reads it from a pipe')
    parser.add_argument(
        "--target", default=DEFAULT_TARGET, metavar="HOST:PORT", help="the gateway (default: %(default)s)"
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="MODEL", help="who answers (default: %(default)s)")
    parser.add_argument(
        "--max-tokens",
        type=int,
        default=_DEFAULT_MAX_TOKENS,
        metavar="N",
        help="most tokens to write, thinking included (default: %(default)s)",
    )
    parser.add_argument(
        "--thinking",
        type=int,
        metavar="N",
        help=f"let Claude think with N tokens, at least 1024; raises --max-tokens to N + {_ROOM_FOR_ANSWER}",
    )
    parser.add_argument("--system", metavar="TEXT", help="instructions that go before the question")


def run(arguments: argparse.Namespace) -> int:
    """Ask, and return the exit code: 0, 1 after an error, 2 for what cannot be asked, 130 after Ctrl-C."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Who read the answer has seen enough. What is still buffered would raise again when the interpreter exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(arguments: argparse.Namespace) -> int:
    try:
        params = _build_params(arguments, _read_question(arguments.question))
    except ValueError as error:
        # No question, a number that is too large, or text that is not Unicode.
        return _complain(str(error), code=2)
    try:
        with Client(arguments.target) as client:
            _ask(client, params)
    except ClaudeError as error:
        return _complain(_explain(error, arguments.target), code=1)
    return 0


def _read_question(argument: str | None) -> str:
    if argument == "-" or (argument is None and not sys.stdin.isatty()):
        argument = sys.stdin.read()
    question = (argument or "").strip()
    if not question:
        raise ValueError("there is no question")
    return question


def _build_params(arguments: argparse.Namespace, question: str) -> MessageParams:
    params = MessageParams(
        model=arguments.model,
        max_tokens=arguments.max_tokens,
        system_text=arguments.system,
        messages=[user(question)],
    )
    if arguments.thinking is not None:
        params.thinking.enabled.budget_tokens = arguments.thinking
        params.max_tokens = max(params.max_tokens, arguments.thinking + _ROOM_FOR_ANSWER)
    return params


def _ask(client: Client, params: MessageParams) -> None:
    transcript = _Transcript(sys.stdout)
    with client.stream(params) as stream:
        try:
            for event in stream:
                transcript.write("thinking", thinking_of(event))
                transcript.write("answer", text_of(event))
        finally:
            transcript.end_line()
        _print_dim(_summary(stream.final_message(), stream.request_id, stream.timing), sys.stderr)


class _Transcript:
    """Writes thinking and answer so that they can be told apart: dimmed on a terminal, under headings elsewhere."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._part = "answer"
        self._is_empty = True
        self._is_at_line_start = True

    def write(self, part: str, text: str) -> None:
        if not text:
            return
        if part != self._part:
            self._begin(part)
        self._is_empty = False
        self._is_at_line_start = text.endswith("\n")
        if self._is_terminal:
            text = text.translate(_CONTROLS)
        self._print(_dim(text) if self._is_terminal and part == "thinking" else text)

    def end_line(self) -> None:
        if not self._is_at_line_start:
            self._is_at_line_start = True
            self._print("\n")

    def _begin(self, part: str) -> None:
        self.end_line()
        self._part = part
        if not self._is_terminal:
            self._print(f"[{part}]\n")
        elif not self._is_empty:
            self._print("\n")

    def _print(self, text: str) -> None:
        print(text, end="", file=self._out, flush=True)


def _summary(message: AssistantMessage, request_id: str, timing: Timing | None) -> str:
    usage = message.usage
    spent = f" | {timing.total / 1e6:.2f} s, {timing.gateway / 1e3:.1f} ms of it the gateway's" if timing else ""
    return (
        f"{message.stop_reason_raw} | tokens: {usage.input_tokens} in, {usage.output_tokens} out, "
        f"{usage.cache_read_input_tokens} from cache, {usage.cache_creation_input_tokens} to cache"
        f" | request {request_id or 'unknown'}{spent}"
    )


def _explain(error: ClaudeError, target: str) -> str:
    if isinstance(error, UnavailableError) and not error.reason and not error.partial:
        return f"no gateway answers at {target} ({error.message}); start one with: claude-grpc serve"
    parts = [error.code.name + (f" ({error.reason})" if error.reason else ""), error.message]
    violations = [f"{field}: {description}" for field, description in error.violations]
    parts += [violation for violation in violations if violation not in error.message]
    parts += [f"request {error.request_id}"] if error.request_id else []
    return " | ".join(parts)


def _complain(text: str, *, code: int) -> int:
    line = " ".join(text.split()).translate(_CONTROLS)
    print(f"claude-grpc ask: {line}", file=sys.stderr)
    return code


def _print_dim(text: str, out: TextIO) -> None:
    text = text.translate(_CONTROLS)
    print(_dim(text) if out.isatty() else text, file=out)


def _dim(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m"
