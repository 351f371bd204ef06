"""The Go client, as Go itself sees it: its stubs, its own tests against a live gateway, its examples."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

_MODULE = Path(__file__).parents[2] / "clients" / "go"

# The first run downloads the module's dependencies and compiles grpc-go.
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed: the Go client is not tested"),
]


class _Gateway(Protocol):
    target: str


def _run(*command: str, target: str = "") -> str:
    """Run a command in the module; a failure shows all it printed."""
    environment = os.environ | {"CLAUDE_GRPC_TARGET": target, "GOFLAGS": "-mod=readonly -buildvcs=false"}
    done = subprocess.run(
        command, cwd=_MODULE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_go_finds_nothing_to_format_or_vet() -> None:
    assert _run("gofmt", "-l", ".") == ""
    _run("go", "vet", "./...")


def test_go_stubs_are_what_the_protos_make(tmp_path: Path) -> None:
    _run("make", "verify-proto", f"PYTHON={sys.executable}", f"BIN={tmp_path}")


def test_go_client_passes_its_own_tests_against_a_live_gateway(gateway_process: _Gateway) -> None:
    printed = _run("go", "test", "-count=1", "-v", "./...", target=gateway_process.target)

    assert "--- PASS: TestLiveTenTurnsWithThinkingAndTools" in printed
    assert "--- PASS: TestLiveBatchAsksAboutAnUploadedFile" in printed
    assert "--- SKIP" not in printed


def test_go_example_streams_an_answer(gateway_process: _Gateway) -> None:
    printed = _run(
        "go", "run", "./examples/stream", "-target", gateway_process.target, "-thinking", "1024", "Why is the sky blue?"
    )

    assert "\x1b[2m" in printed
    assert " tokens in, " in printed
    assert "req_" in printed.splitlines()[-1]


def test_go_example_asks_about_a_file_and_reads_a_batch(gateway_process: _Gateway, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_bytes(b"All that was said. " * 100_000)

    printed = _run(
        *("go", "run", "./examples/batch", "-target", gateway_process.target),
        *(str(notes), "What is it?", "Who wrote it?", "[[error 529]]"),
    )

    assert "text/plain, 1900000 bytes" in printed.splitlines()[0]
    assert "What is it? (notes.txt, text/plain, 1900000 bytes)" in printed
    assert " ended: 0 processing, 1 succeeded, 1 errored\n" in printed
    assert "question-2 succeeded\n" in printed
    assert "question-3 errored\nOverloaded" in printed
