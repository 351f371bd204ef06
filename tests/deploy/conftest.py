"""The Kubernetes manifests as the tests read them: the base's plain files, and what kustomize builds.

The plain files need no tool, so that every claim is checked at least once on any machine.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

Manifest = dict[str, Any]

_KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"


def _kustomize() -> list[str]:
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    place = "this CI run" if os.environ.get("CI") == "true" else "this run"
    pytest.skip(f"neither kubectl nor kustomize is on PATH: what they build stays unchecked in {place}")


@functools.cache
def _build(folder: str) -> str:
    done = subprocess.run(
        [*_kustomize(), str(_KUBERNETES / folder)], capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _settings_map() -> Manifest:
    """What the generator in the base's kustomization makes of settings.env, without the hash in its name."""
    lines = (_KUBERNETES / "base" / "settings.env").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "claude-grpc-settings"},
        "data": {name: value for name, _, value in pairs},
    }


def _plain_base() -> list[Manifest]:
    kustomization = yaml.safe_load((_KUBERNETES / "base" / "kustomization.yaml").read_text(encoding="utf-8"))
    files = [_KUBERNETES / "base" / name for name in kustomization["resources"]]
    return [_settings_map(), *(yaml.safe_load(file.read_text(encoding="utf-8")) for file in files)]


def _built(folder: str) -> list[Manifest]:
    return list(yaml.safe_load_all(_build(folder)))


@pytest.fixture
def base() -> list[Manifest]:
    return _plain_base()


@pytest.fixture
def simulator() -> list[Manifest]:
    return _built("overlays/simulator")


@pytest.fixture(params=["base-unbuilt", "base", "overlays/simulator"])
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return _plain_base() if request.param == "base-unbuilt" else _built(request.param)
