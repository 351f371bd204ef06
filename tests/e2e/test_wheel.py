"""The one wheel: what is in it, and what it does without the gateway's dependencies."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER_ONLY = ("aiohttp", "grpc_health", "grpc_reflection", "httpx", "msgspec", "opentelemetry", "pydantic", "uvloop")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=50,
    )
    [built] = folder.glob("*.whl")
    return built


def run_without_server_packages(wheel: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command from the wheel in a Python that finds nothing of the ``[server]`` extra."""
    program = (
        f"import sys; sys.path.insert(0, {str(wheel)!r})\n"
        f"class Absent:\n"
        f"    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {SERVER_ONLY!r}: raise ModuleNotFoundError(name=name)\n"
        f"sys.meta_path.insert(0, Absent())\n"
        f"from claude_grpc.__main__ import main\n"
        f"sys.exit(main({list(arguments)!r}))"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=50)


def test_the_wheel_holds_stubs_client_and_gateway_and_their_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "claude_grpc/py.typed",
        "claude_grpc/server.py",
        "claude_grpc/v1/messages_pb2.py",
        "claude_grpc/v1/messages_pb2.pyi",
        "claude_grpc_client/aio.py",
        "claude_grpc_client/py.typed",
        "claude_grpc_client/service_config.json",
    } <= names
    assert not any(name.startswith(("tests", "bench")) for name in names)


def test_help_needs_no_server_package(wheel: Path) -> None:
    done = run_without_server_packages(wheel, "--help")
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout


@pytest.mark.parametrize("command", ["serve", "simulate", "health"])
def test_a_command_of_the_gateway_says_what_is_missing(wheel: Path, command: str) -> None:
    done = run_without_server_packages(wheel, command)
    assert done.returncode == 1
    assert "is missing; this command needs: pip install 'claude-grpc[server]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
