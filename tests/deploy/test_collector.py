"""What the collector's configuration promises: its parts, and room for all spans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from claude_grpc.config import Settings
from claude_grpc.telemetry import names

FOLDER = Path(__file__).parents[2] / "deploy" / "telemetry"
MIB = 2**20
# What a gateway does by the defaults of OTEL_BSP_*.
SPANS_IN_A_BATCH = 512


def collector() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "collector.yaml").read_text())
    return loaded


def test_each_part_of_the_collectors_pipelines_is_configured_and_used() -> None:
    configuration = collector()
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in configuration["service"]["pipelines"].values() for name in pipeline[kind]}
        assert used == set(configuration[kind])
    assert configuration["service"]["extensions"] == list(configuration["extensions"])
    for pipeline in configuration["service"]["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter"
        assert pipeline["processors"][-1] == "batch"


def test_the_collector_drops_every_attribute_that_holds_content() -> None:
    dropped = {action["key"] for action in collector()["processors"]["attributes/no_content"]["actions"]}
    assert dropped == {names.INPUT_MESSAGES, names.OUTPUT_MESSAGES, names.SYSTEM_INSTRUCTIONS}


def test_a_batch_of_spans_full_of_content_is_received() -> None:
    protocols = collector()["receivers"]["otlp"]["protocols"]
    content = len((names.INPUT_MESSAGES, names.OUTPUT_MESSAGES, names.SYSTEM_INSTRUCTIONS))
    largest = SPANS_IN_A_BATCH * content * Settings.model_fields["max_captured_bytes"].default
    assert protocols["grpc"]["max_recv_msg_size_mib"] * MIB > largest
    assert protocols["http"]["max_request_body_size"] > largest
