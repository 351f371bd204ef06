from __future__ import annotations

import argparse
import io
import os
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from claude_grpc_client import ask

COMMAND = """
import argparse, sys
from claude_grpc_client import ask
parser = argparse.ArgumentParser()
ask.add_arguments(parser)
sys.exit(ask.run(parser.parse_args()))
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    ask.add_arguments(parser)
    return parser.parse_args(words)


def run(target: str, *words: str) -> int:
    return ask.run(parse("--target", target, *words))


def test_a_pipe_gets_plain_text_under_headings(threaded_fake: Any, answer: Any, capsys: Any) -> None:
    threaded_fake.play(events=answer)
    assert run(threaded_fake.target, "Hi") == 0
    out, err = capsys.readouterr()
    assert out == "[thinking]\nLet me see.\n[answer]\nHello world\n"
    assert err == "end_turn | tokens: 12 in, 34 out, 5 from cache, 6 to cache | request req_1\n"


def test_the_last_line_tells_what_time_the_gateway_took(threaded_fake: Any, answer: Any, capsys: Any) -> None:
    told = "admission=50,encode=450,connect=500,first-event=1000000,relay=500,total=1001500"
    threaded_fake.play(events=answer, trailers=[("claude-grpc-timing", told)])
    assert run(threaded_fake.target, "Hi") == 0
    assert capsys.readouterr().err.endswith(" | 1.00 s, 1.0 ms of it the gateway's\n")


def test_an_answer_without_thinking_has_no_heading(threaded_fake: Any, answer: Any, capsys: Any) -> None:
    threaded_fake.play(events=[answer[0], *answer[7:]])
    assert run(threaded_fake.target, "Hi") == 0
    assert capsys.readouterr().out == "Hello world\n"


def test_a_terminal_gets_thinking_and_summary_dimmed(
    threaded_fake: Any, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threaded_fake.play(events=answer)
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert run(threaded_fake.target, "Hi") == 0
    assert out.getvalue() == "\x1b[2mLet me \x1b[0m\x1b[2msee.\x1b[0m\n\nHello world\n"
    assert err.getvalue().startswith("\x1b[2mend_turn | tokens: ")
    assert err.getvalue().endswith("request req_1\x1b[0m\n")


def test_an_answer_cannot_command_the_terminal(
    threaded_fake: Any, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer[8].content_block_delta.delta.text_delta.text = "a\x1b]0;title\x07\rb\x9bc\td\n"
    threaded_fake.play(events=[*answer[7:9], answer[-1]])
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    assert run(threaded_fake.target, "Hi") == 0
    assert out.getvalue() == "a]0;titlebc\td\n"


def test_the_options_become_the_request(threaded_fake: Any, answer: Any) -> None:
    threaded_fake.play(events=answer)
    words = ["--model", "m", "--max-tokens", "7", "--thinking", "2000", "--system", "Be brief.", "Hi"]
    assert run(threaded_fake.target, *words) == 0
    params = threaded_fake.requests[0].params
    assert (params.model, params.max_tokens, params.system_text) == ("m", 3024, "Be brief.")
    assert params.thinking.enabled.budget_tokens == 2000
    assert params.messages[0].text == "Hi"


def test_without_options_the_request_has_the_defaults(threaded_fake: Any, answer: Any) -> None:
    threaded_fake.play(events=answer)
    assert run(threaded_fake.target, "Hi") == 0
    params = threaded_fake.requests[0].params
    assert (params.model, params.max_tokens) == (ask.DEFAULT_MODEL, 4096)
    assert not params.HasField("thinking")
    assert not params.HasField("system_text")
    assert parse("Hi").target == "127.0.0.1:50051"


@pytest.mark.parametrize("words", [["-"], []])
def test_the_question_may_come_from_a_pipe(
    threaded_fake: Any, answer: Any, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    threaded_fake.play(events=answer)
    monkeypatch.setattr(sys, "stdin", io.StringIO("What is\nthis?\n"))
    assert run(threaded_fake.target, *words) == 0
    assert threaded_fake.requests[0].params.messages[0].text == "What is\nthis?"


@pytest.mark.parametrize("stdin", [Terminal("never read"), io.StringIO(" \n")], ids=["terminal", "empty pipe"])
def test_no_question_is_an_error(stdin: io.StringIO, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    assert run("127.0.0.1:1") == 2
    assert capsys.readouterr() == ("", "claude-grpc ask: there is no question\n")


def test_what_cannot_be_sent_is_an_error(capsys: Any) -> None:
    assert run("127.0.0.1:1", "--max-tokens", "99999999999", "Hi") == 2
    assert run("127.0.0.1:1", "not Unicode: \udcff") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("claude-grpc ask: ") == err.count("\n") == 2


def test_an_error_is_one_line_with_all_that_helps(threaded_fake: Any, invalid: Any, capsys: Any) -> None:
    invalid["text"] = "The request\nis not \x1bvalid."
    threaded_fake.play(**invalid)
    assert run(threaded_fake.target, "Hi") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "claude-grpc ask: INVALID_ARGUMENT (INVALID_REQUEST_ERROR) | The request is not valid. | "
        "params.model: Must be set. | params.messages: | request req_9\n"
    )


def test_a_violation_that_is_the_message_is_said_once(threaded_fake: Any, invalid: Any, capsys: Any) -> None:
    invalid["text"] = "params.model: Must be set."
    threaded_fake.play(**invalid)
    assert run(threaded_fake.target, "Hi") == 1
    assert capsys.readouterr().err.count("Must be set.") == 1


def test_an_error_in_the_middle_comes_after_the_answer_so_far(
    threaded_fake: Any, answer: Any, overloaded: Any, capsys: Any
) -> None:
    threaded_fake.play(events=answer[:9], **overloaded)
    assert run(threaded_fake.target, "Hi") == 1
    out, err = capsys.readouterr()
    assert out == "[thinking]\nLet me see.\n[answer]\nHello \n"
    assert err == "claude-grpc ask: UNAVAILABLE (OVERLOADED) | Overloaded | request req_9\n"


def test_where_no_gateway_listens_the_error_says_how_to_start_one(capsys: Any) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # bound, but not listening: connecting is refused
        target = f"127.0.0.1:{unheard.getsockname()[1]}"
        assert run(target, "Hi") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"claude-grpc ask: no gateway answers at {target} (")
    assert err.endswith("); start one with: claude-grpc serve\n")
    assert err.count("\n") == 1


def start(target: str, **pipes: Any) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", COMMAND, "--target", target, "Hi"]
    return subprocess.Popen(words, text=True, **pipes)


def test_ctrl_c_cancels_the_call_and_exits_with_130(threaded_fake: Any, answer: Any) -> None:
    threaded_fake.play(events=answer[:9], hangs=True)
    with start(threaded_fake.target, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(len("[thinking]\nLet me see.\n[answer]\nHello ")).endswith("Hello ")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert threaded_fake.ended.wait(20)
        assert process.stdout.read() == "\n"
        assert process.stderr.read() == ""


def test_a_reader_that_leaves_ends_the_command_without_a_word(threaded_fake: Any, answer: Any) -> None:
    threaded_fake.play(events=answer, hangs=True)
    reader, writer = os.pipe()
    os.close(reader)
    with start(threaded_fake.target, stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(20) == 1
    assert threaded_fake.ended.wait(20)
