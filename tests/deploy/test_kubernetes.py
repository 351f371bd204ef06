"""What the manifests promise the gateway, and the gateway the manifests: settings, probes, times, rights."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import AliasChoices

import claude_grpc
from claude_grpc.config import ConfigurationError, Settings, load_settings

Manifest = dict[str, Any]

# To close upstream, flush telemetry and leave, after the last stream has ended.
_LEAVING_S = 10


def _the(manifests: list[Manifest], kind: str) -> Manifest:
    (manifest,) = (manifest for manifest in manifests if manifest["kind"] == kind)
    return manifest


def _pod(manifests: list[Manifest]) -> Manifest:
    pod: Manifest = _the(manifests, "Deployment")["spec"]["template"]["spec"]
    return pod


def _container(manifests: list[Manifest]) -> Manifest:
    container: Manifest
    (container,) = _pod(manifests)["containers"]
    return container


def _environment(manifests: list[Manifest]) -> dict[str, str]:
    """The container's environment; what comes from a Secret has the Secret's name for a value."""
    container, settings = _container(manifests), _the(manifests, "ConfigMap")
    (source,) = container["envFrom"]
    assert source["configMapRef"]["name"] == settings["metadata"]["name"]
    own = {
        entry["name"]: entry.get("value") or entry["valueFrom"]["secretKeyRef"]["name"] for entry in container["env"]
    }
    return {**settings["data"], **own}


def _known_names() -> set[str]:
    names: set[str] = set()
    for field, info in Settings.model_fields.items():
        match info.validation_alias:
            case None:
                names.add(f"CLAUDE_GRPC_{field.upper()}")
            case AliasChoices(choices=choices):
                names.update(str(choice).upper() for choice in choices)
            case alias:
                names.add(str(alias).upper())
    return names


def _start(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings as a process with just this environment reads them."""
    for name in _known_names():
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.fixture
def settings(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> Settings:
    return _start(_environment(manifests), monkeypatch)


def test_every_variable_is_a_setting(manifests: list[Manifest]) -> None:
    assert _environment(manifests).keys() <= _known_names()


def test_service_variables_of_the_cluster_do_not_pass_for_settings(manifests: list[Manifest]) -> None:
    assert _pod(manifests)["enableServiceLinks"] is False


def test_a_drain_ends_before_the_kill(manifests: list[Manifest], settings: Settings) -> None:
    drain_s = settings.drain_delay + settings.drain_grace
    assert _pod(manifests)["terminationGracePeriodSeconds"] >= drain_s + _LEAVING_S


def test_a_drain_leaves_time_for_the_endpoints_to_go(settings: Settings) -> None:
    assert settings.drain_delay == 5


@pytest.mark.parametrize(
    ("probe", "service"),
    [("startupProbe", "liveness"), ("readinessProbe", "readiness"), ("livenessProbe", "liveness")],
)
def test_each_probe_asks_for_its_own_health(manifests: list[Manifest], probe: str, service: str) -> None:
    container = _container(manifests)
    (port,) = container["ports"]
    assert container[probe]["grpc"] == {"port": port["containerPort"], "service": service}


def test_the_port_is_one_from_the_setting_to_the_service(manifests: list[Manifest], settings: Settings) -> None:
    (port,) = _container(manifests)["ports"]
    (service_port,) = _the(manifests, "Service")["spec"]["ports"]
    (rule,) = _the(manifests, "NetworkPolicy")["spec"]["ingress"]
    assert settings.listen == f"0.0.0.0:{port['containerPort']}"
    assert service_port["targetPort"] == port["name"]
    assert [allowed["port"] for allowed in rule["ports"]] == [port["name"]]


def test_the_service_is_headless_and_names_its_protocol(manifests: list[Manifest]) -> None:
    spec = _the(manifests, "Service")["spec"]
    assert spec["clusterIP"] == "None"
    assert [port["appProtocol"] for port in spec["ports"]] == ["grpc"]


def test_every_selector_finds_the_pods(manifests: list[Manifest]) -> None:
    deployment = _the(manifests, "Deployment")["spec"]
    selectors = [
        deployment["selector"]["matchLabels"],
        _the(manifests, "Service")["spec"]["selector"],
        _the(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        _the(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(spread["labelSelector"]["matchLabels"] for spread in _pod(manifests)["topologySpreadConstraints"]),
    ]
    assert selectors == [deployment["template"]["metadata"]["labels"]] * len(selectors)


def test_an_update_never_takes_a_pod_before_its_successor_is_ready(manifests: list[Manifest]) -> None:
    assert _the(manifests, "Deployment")["spec"]["strategy"]["rollingUpdate"] == {
        "maxUnavailable": 0,
        "maxSurge": 1,
    }


def test_the_pod_meets_the_restricted_standard(manifests: list[Manifest]) -> None:
    pod, container = _pod(manifests), _container(manifests)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_pod_holds_no_token_of_the_cluster(manifests: list[Manifest]) -> None:
    account = _the(manifests, "ServiceAccount")
    assert _pod(manifests)["serviceAccountName"] == account["metadata"]["name"]
    assert _pod(manifests)["automountServiceAccountToken"] is False
    assert account["automountServiceAccountToken"] is False


def test_memory_is_bounded_and_the_processor_is_not_throttled(manifests: list[Manifest]) -> None:
    resources = _container(manifests)["resources"]
    assert resources["requests"].keys() == {"cpu", "memory"}
    assert resources["limits"].keys() == {"memory"}


def test_the_image_is_the_version_of_this_tree(manifests: list[Manifest]) -> None:
    assert _container(manifests)["image"] == f"claude-grpc:{claude_grpc.__version__}"


def test_no_manifest_holds_a_secret(manifests: list[Manifest]) -> None:
    assert "Secret" not in {manifest["kind"] for manifest in manifests}


def test_the_base_takes_its_key_from_a_secret_that_must_exist(base: list[Manifest]) -> None:
    (entry,) = _container(base)["env"]
    assert entry == {
        "name": "ANTHROPIC_API_KEY",
        "valueFrom": {"secretKeyRef": {"name": "claude-grpc-upstream", "key": "api-key"}},
    }


def test_the_base_refuses_to_start_without_its_key(base: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    environment = _environment(base)
    del environment["ANTHROPIC_API_KEY"]
    with pytest.raises(ConfigurationError, match="ANTHROPIC_API_KEY"):
        _start(environment, monkeypatch)


def test_the_base_answers_from_the_claude_api(base: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _start(_environment(base), monkeypatch).simulates


def test_the_simulator_overlay_needs_no_secret(simulator: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    assert _container(simulator)["env"] == []
    assert _start(_environment(simulator), monkeypatch).simulates


def test_the_simulator_can_stand_beside_the_base(base: list[Manifest], simulator: list[Manifest]) -> None:
    names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in base}
    assert names.isdisjoint((manifest["kind"], manifest["metadata"]["name"]) for manifest in simulator)


def test_calls_for_the_base_never_reach_a_simulator(base: list[Manifest], simulator: list[Manifest]) -> None:
    selector = _the(base, "Service")["spec"]["selector"]
    labels = _the(simulator, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert not selector.items() <= labels.items()
