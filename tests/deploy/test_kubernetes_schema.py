"""Every manifest is valid under the strict schema of every Kubernetes release that is supported."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

Manifest = dict[str, Any]

# The first is the oldest that deploy/README.md promises: gRPC probes became stable in it.
_RELEASES = ("1.27", "1.30", "1.32", "1.33", "1.34", "1.35", kubernetes_validate.latest_version())
_BASE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "base"


@pytest.mark.parametrize("release", _RELEASES)
def test_manifests_satisfy_the_strict_schema(manifests: list[Manifest], release: str) -> None:
    for manifest in manifests:
        kubernetes_validate.validate(manifest, release, strict=True)


@pytest.mark.parametrize(("field", "value"), [("replicas", "2"), ("replica", 2)])
def test_the_schema_check_refuses_a_wrong_field(base: list[Manifest], field: str, value: object) -> None:
    deployment = copy.deepcopy(next(manifest for manifest in base if manifest["kind"] == "Deployment"))
    deployment["spec"][field] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, _RELEASES[-1], strict=True)


def test_every_file_of_the_base_is_listed_in_its_kustomization() -> None:
    kustomization = yaml.safe_load((_BASE / "kustomization.yaml").read_text(encoding="utf-8"))
    files = {file.name for file in _BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files
